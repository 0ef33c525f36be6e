"""A policy for LeRobot that plans with a world model of jepawm; importing it registers the policy."""

from importlib import import_module
from importlib.util import find_spec

from lerobot_policy_jepawm.configuration_jepawm import JepawmConfig

if (
    find_spec("lerobot_env_jepawm") is not None
):  # LeRobot 0.4 looks for policies, not for environments
    import_module("lerobot_env_jepawm")

__all__ = ["JepawmConfig"]
