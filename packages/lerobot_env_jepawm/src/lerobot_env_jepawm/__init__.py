"""Wall, PointMaze and Push-T of jepawm for LeRobot, and a simulated arm; importing it registers them."""

from lerobot_env_jepawm.arm import JepawmArm, JepawmArmConfig, JepawmMover, JepawmMoverConfig
from lerobot_env_jepawm.environments import JepawmPointMazeEnv, JepawmPushTEnv, JepawmWallEnv

__all__ = [
    "JepawmArm",
    "JepawmArmConfig",
    "JepawmMover",
    "JepawmMoverConfig",
    "JepawmPointMazeEnv",
    "JepawmPushTEnv",
    "JepawmWallEnv",
]
