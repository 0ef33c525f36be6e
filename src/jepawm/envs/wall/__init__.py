"""Wall: a dot, a wall and a door."""
