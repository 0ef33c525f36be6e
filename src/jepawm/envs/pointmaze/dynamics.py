"""How the ball of PointMaze rolls: a U-shaped maze in MuJoCo, many balls at once.

Lengths are metres, times seconds. The model is written from the published parameters of the maze
of the JEPA-WM paper, see docs/environments/pointmaze.md. A state is (x, y, velocity x, velocity y) with x and y
relative to `particle_base`.
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from jepawm.envs.mujoco_engine import import_mujoco

if TYPE_CHECKING:
    import mujoco

_BESIDE, _DEEP, _SAMPLES = 0.05, 0.05, 33
"""Metres at which a ball is beside a wall; metres that a way may cut into the corner of a cell, where
the ball rolled around it; points of a way that are looked at."""


@dataclass(frozen=True, kw_only=True)
class PointMazePhysics:
    """The numbers of the maze and of its ball."""

    maze: tuple[str, ...] = ("#####", "#GOO#", "###O#", "#OOO#", "#####")
    """Rows of cells of side 1, `#` is wall; row i, column j has its centre at x = i + 1, y = j + 1."""
    particle_base: tuple[float, float, float] = (1.2, 1.2, 0.0)
    """Where in the maze x = y = 0 of a state is, in metres."""
    particle_radius: float = 0.1
    """Radius of the ball, in metres."""
    wall_half_size: tuple[float, float, float] = (0.5, 0.5, 0.2)
    """Half the width, depth and height of a wall cell, in metres."""
    ground_z: float = -0.1
    """Height of the floor, in metres."""
    density: float = 1000.0
    """Density of the ball, in kg per cubic metre."""
    damping: float = 1.0
    """Damping of the two slide joints, in N s/m."""
    gear: float = 100.0
    """Force of an action of length 1, in newtons."""
    friction: tuple[float, float, float] = (0.5, 0.1, 0.1)
    """Sliding, torsional and rolling friction; without effect on contacts of one dimension."""
    contact_dimensions: int = 1
    """MuJoCo's `condim`: 1 is a contact without friction."""
    margin: float = 0.002
    """Distance at which a contact begins, of each of the two geometries, in metres."""
    gravity: float = 0.0
    """Acceleration downwards, in m/s^2."""
    timestep: float = 0.01
    """Length of an engine step, in seconds."""
    frame_skip: int = 5
    """Engine steps per action."""
    solver_iterations: int = 20
    """Most iterations of the contact solver."""
    action_clip: float = 1.0
    """Actions are clipped to plus and minus this."""
    velocity_clip: float = 5.0
    """Velocities are clipped to plus and minus this before each action, in m/s."""
    success_distance: float = 0.5
    """A ball nearer to the goal than this has succeeded, in metres."""
    old_contacts: bool = True
    """Whether walls push back as in MuJoCo 2.3, which the paper's generation resembles."""


PAPER_PHYSICS = PointMazePhysics()
"""The paper's maze."""


class PointMazeSimulator:
    """Step any number of balls, each alone in its maze; a pure function of state and action."""

    def __init__(self, physics: PointMazePhysics = PAPER_PHYSICS) -> None:
        """Compile the maze."""
        engine = import_mujoco("PointMaze")
        self.physics = physics
        self.model = compile_maze(physics)
        self._data = engine.MjData(self.model)
        self._rollout = importlib.import_module("mujoco.rollout").rollout

    def step(
        self, states: Float[np.ndarray, "n 4"], actions: Float[np.ndarray, "n 2"]
    ) -> Float[np.ndarray, "n 4"]:
        """Return the states `[n, 4]` after one action `[n, 2]` each."""
        if not len(states):
            return np.zeros((0, 4))
        physics = self.physics
        initial = np.zeros((len(states), 5))  # time, x, y, velocities
        initial[:, 1:3] = states[:, :2]
        initial[:, 3:] = states[:, 2:].clip(-physics.velocity_clip, physics.velocity_clip)
        control = actions.astype(np.float64).clip(-physics.action_clip, physics.action_clip)
        repeated = np.repeat(control[:, None], physics.frame_skip, axis=1)  # [n, frame_skip, 2]
        # the solver starts without memory of earlier contacts: a state is complete
        after, _ = self._rollout(self.model, self._data, initial, repeated)
        return after[:, -1, 1:].copy()


def beside_walls(
    states: Float[np.ndarray, "B 4"], *, physics: PointMazePhysics = PAPER_PHYSICS
) -> dict[str, Bool[np.ndarray, " B"]]:
    """Return which balls are within 5 cm of a wall inside the maze, and of one around it."""
    places = states[:, :2] + np.array(physics.particle_base[:2])
    last = len(physics.maze) - 1, len(physics.maze[0]) - 1
    touches = {"wall": np.zeros(len(states), np.bool_), "border": np.zeros(len(states), np.bool_)}
    for row, cells in enumerate(physics.maze):
        for column, cell in enumerate(cells):
            if cell != "#":
                continue
            outside = np.abs(places - [row + 1, column + 1]) - physics.wall_half_size[:2]
            gap = np.linalg.norm(outside.clip(0.0), axis=-1) - physics.particle_radius
            outer = row in (0, last[0]) or column in (0, last[1])
            touches["border" if outer else "wall"] |= gap <= _BESIDE
    return touches


def passes_cells(
    before: Float[np.ndarray, "B 4"],
    after: Float[np.ndarray, "B 4"],
    *,
    physics: PointMazePhysics = PAPER_PHYSICS,
) -> Bool[np.ndarray, " B"]:
    """Return which straight ways of a ball's middle pass through a wall `[B]`."""
    free = np.array(
        [
            (row + 1, column + 1)
            for row, cells in enumerate(physics.maze)
            for column, cell in enumerate(cells)
            if cell != "#"
        ]
    )
    parts = np.linspace(0.0, 1.0, _SAMPLES)[:, None, None]
    places = before[:, :2] + parts * (after[:, :2] - before[:, :2])  # [samples, B, 2]
    away = np.abs(places[..., None, :] + np.array(physics.particle_base[:2]) - free)
    outside = (away - physics.wall_half_size[:2]).max(-1).min(-1)  # of the nearest free cell
    return np.asarray((outside > _DEEP).any(0))


def compile_maze(physics: PointMazePhysics) -> "mujoco.MjModel":  # pyright: ignore[reportAttributeAccessIssue]
    """Compile the maze for the installed engine."""
    model = import_mujoco("PointMaze").MjModel.from_xml_string(maze_xml(physics))
    if physics.old_contacts:
        # engine 3 takes 1 / mass, which makes contacts softer than engine 2's 2 / (3 mass)
        body = model.body("particle").id
        model.body_invweight0[body, 0] = 2.0 / (3.0 * model.body_mass[body])
    return model


def maze_xml(physics: PointMazePhysics) -> str:
    """Return the maze in MuJoCo's XML; the floor is for the eye, nothing touches it."""
    walls = "\n".join(
        f'    <geom type="box" size="{_join(physics.wall_half_size)}" pos="{row + 1} {column + 1} 0"'
        ' rgba=".7 .5 .3 1"/>'
        for row, cells in enumerate(physics.maze)
        for column, cell in enumerate(cells)
        if cell == "#"
    )
    radius = physics.particle_radius
    return f"""
<mujoco model="pointmaze">
  <option timestep="{physics.timestep}" gravity="0 0 {-physics.gravity}" integrator="Euler"
    iterations="{physics.solver_iterations}"/>
  <visual>
    <headlight ambient=".4 .4 .4" diffuse=".8 .8 .8" specular=".1 .1 .1"/>
    <map znear=".01"/>
  </visual>
  <default>
    <geom condim="{physics.contact_dimensions}" friction="{_join(physics.friction)}"
      margin="{physics.margin}" density="{physics.density}"/>
    <joint type="slide" damping="{physics.damping}" limited="false"/>
    <motor gear="{physics.gear}"/>
  </default>
  <asset>
    <texture name="floor" type="2d" builtin="checker" rgb1=".2 .3 .4" rgb2=".1 .2 .3"
      width="100" height="100"/>
    <material name="floor" texture="floor" texrepeat="20 20"/>
  </asset>
  <worldbody>
    <geom type="plane" pos="0 0 {physics.ground_z}" size="40 40 .25" material="floor"
      contype="0" conaffinity="0"/>
{walls}
    <body name="particle" pos="{_join(physics.particle_base)}">
      <joint name="x" axis="1 0 0"/>
      <joint name="y" axis="0 1 0"/>
      <geom name="particle" type="sphere" size="{radius}" rgba="0 0 1 0"/>
      <site name="particle" type="sphere" size="{2 * radius}" rgba=".3 .6 .3 1"/>
    </body>
  </worldbody>
  <actuator>
    <motor joint="x"/>
    <motor joint="y"/>
  </actuator>
</mujoco>"""


def _join(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:g}" for number in numbers)
