"""PointMaze: a ball in a maze."""
