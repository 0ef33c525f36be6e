"""Wall for Gymnasium: one copy (`WallEnv`) or thousands at once (`WallVectorEnv`)."""

from typing import Literal

from jepawm.envs.gymnasium.adapter import GymEnv, GymVectorEnv
from jepawm.envs.wall.env import WallBatch
from jepawm.envs.wall.tasks import DEFAULT_DOOR_Y, DEFAULT_WALL_X


class WallEnv(GymEnv):
    """One copy of Wall; state and proprioception are the dot's (x, y) in pixels of a 65 px world."""

    def __init__(
        self,
        image_size: int = 64,
        *,
        wall_x: float = DEFAULT_WALL_X,
        door_y: float = DEFAULT_DOOR_Y,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        """Take the side of the images in pixels and the layout of sampled tasks."""
        super().__init__(
            WallBatch(image_size, wall_x=wall_x, door_y=door_y), render_mode=render_mode
        )


class WallVectorEnv(GymVectorEnv):
    """Many copies of Wall in lockstep, stepped by a few array operations."""

    def __init__(
        self,
        num_envs: int,
        *,
        image_size: int = 64,
        wall_x: float = DEFAULT_WALL_X,
        door_y: float = DEFAULT_DOOR_Y,
    ) -> None:
        """Take the number of copies, the side of the images and the layout of sampled tasks."""
        super().__init__(WallBatch(image_size, wall_x=wall_x, door_y=door_y), num_envs)
