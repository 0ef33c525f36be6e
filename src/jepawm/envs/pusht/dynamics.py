"""How the agent and the block of Push-T move: one copy of the world, on pymunk.

Lengths are pixels of the 512 x 512 world, x to the right and y down, angles radians, times
seconds. The rules are those of the JEPA-WM paper's environment, see docs/environments/pusht.md.
"""

import importlib
import math
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from jaxtyping import Float

from jepawm.envs.pusht.shape import BLOCK_SHAPES, CENTER_OF_GRAVITY
from jepawm.errors import missing_extra

_MASS = 1.0
AGENT_RADIUS = 15.0
"""Radius of the agent, in pixels."""
_BORDER_LOW, _BORDER_HIGH, _BORDER_RADIUS = 5.0, 506.0, 2.0


@dataclass(frozen=True, kw_only=True)
class PushTPhysics:
    """The numbers of the world."""

    window: int = 512
    """Side of the world, in pixels."""
    action_scale: float = 100.0
    """Distance in pixels between the agent and its target that an action of length 1 asks for."""
    stiffness: float = 100.0
    """Acceleration of the agent per pixel of distance to its target, in 1/s^2."""
    damping: float = 20.0
    """Deceleration of the agent per unit of velocity, in 1/s."""
    simulation_hz: int = 100
    """Physics steps in a second."""
    control_hz: int = 10
    """Actions in a second."""
    success_distance: float = 20.0
    """Largest norm of the differences of (agent x, agent y, block x, block y), in pixels."""
    success_angle: float = math.pi / 9
    """Largest difference of the block's angle, in radians."""


PAPER_PHYSICS = PushTPhysics()
"""The paper's world."""


class PushTWorld:
    """One agent and one block; a reset builds them anew, so that nothing earlier can matter."""

    def __init__(self, physics: PushTPhysics = PAPER_PHYSICS) -> None:
        """Put agent and block somewhere; `reset` decides where."""
        self.physics = physics
        self._pymunk = import_pymunk()
        self.reset(np.array([256.0, 400.0, 256.0, 300.0, 0.0, 0.0, 0.0]))

    def reset(self, state: Float[np.ndarray, " 7"]) -> None:
        """Set (agent x, y, block x, y, angle, agent velocity x, y), then settle.

        Settling is one physics step, as in the reference: a moving agent moves on, and a block that
        overlaps something is pushed out of it.
        """
        numbers = [float(number) for number in state]
        self._space = self._pymunk.Space()
        self._space.gravity = 0, 0
        self._space.damping = 0.0
        self._add_borders()
        self._agent = self._add_agent()
        self._block = self._add_block()
        self._agent.velocity = numbers[5], numbers[6]
        self._agent.position = numbers[0], numbers[1]
        self._block.angle = numbers[4]  # turns about the centre of gravity, so it comes first
        self._block.position = numbers[2], numbers[3]
        self._space.step(1.0 / self.physics.simulation_hz)

    def step(self, action: Float[np.ndarray, " 2"]) -> None:
        """Steer the agent towards its place now plus 100 x `action` for a tenth of a second."""
        physics, agent = self.physics, self._agent
        interval = 1.0 / physics.simulation_hz
        target_x = agent.position[0] + float(action[0]) * physics.action_scale
        target_y = agent.position[1] + float(action[1]) * physics.action_scale
        for _ in range(physics.simulation_hz // physics.control_hz):
            (x, y), (vx, vy) = agent.position, agent.velocity
            ax = physics.stiffness * (target_x - x) + physics.damping * (0.0 - vx)
            ay = physics.stiffness * (target_y - y) + physics.damping * (0.0 - vy)
            agent.velocity = vx + ax * interval, vy + ay * interval
            self._space.step(interval)

    def state(self) -> Float[np.ndarray, " 7"]:
        """Return (agent x, y, block x, y, angle, agent velocity x, y); the angle is not wrapped."""
        agent, block = self._agent, self._block
        return np.array([*agent.position, *block.position, block.angle, *agent.velocity])

    def _add_borders(self) -> None:
        low, high = _BORDER_LOW, _BORDER_HIGH
        ends = (
            ((low, high), (low, low)),
            ((low, low), (high, low)),
            ((high, low), (high, high)),
            ((low, high), (high, high)),
        )
        static = self._space.static_body
        segments = [self._pymunk.Segment(static, start, end, _BORDER_RADIUS) for start, end in ends]
        self._space.add(*segments)

    def _add_agent(self):  # noqa: ANN202 - a pymunk.Body; pymunk may be missing
        body = self._pymunk.Body(body_type=self._pymunk.Body.KINEMATIC)
        self._space.add(body, self._pymunk.Circle(body, AGENT_RADIUS))
        return body

    def _add_block(self):  # noqa: ANN202 - a pymunk.Body; pymunk may be missing
        bar = BLOCK_SHAPES[0].tolist()
        inertia = 2 * self._pymunk.moment_for_poly(_MASS, bar)  # the stem's is the bar's, too
        body = self._pymunk.Body(_MASS, inertia)
        shapes = [self._pymunk.Poly(body, vertices.tolist()) for vertices in BLOCK_SHAPES]
        body.center_of_gravity = CENTER_OF_GRAVITY
        self._space.add(body, *shapes)
        return body


def import_pymunk() -> ModuleType:
    """Import pymunk."""
    try:
        return importlib.import_module("pymunk")
    except ModuleNotFoundError as error:
        raise missing_extra("Push-T", error, package="pymunk", extra="pusht") from error
