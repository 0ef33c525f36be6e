"""LeRobot's asynchronous inference with this policy: `lerobot-jepawm-server`, `lerobot-jepawm-client`.

LeRobot 0.4 lists the policies that its server takes in a constant, and its server looks for no plugins.
Both commands add this policy to the list, then run LeRobot's own code; options are those of
`lerobot.async_inference`. Its messages are pickled: run both ends on machines that you trust.
"""

from lerobot.async_inference import constants
from lerobot.utils.import_utils import register_third_party_plugins


def _register() -> None:
    register_third_party_plugins()
    if "jepawm" not in constants.SUPPORTED_POLICIES:
        constants.SUPPORTED_POLICIES.append("jepawm")


def server() -> None:
    """Serve plans to LeRobot's robot clients."""
    _register()
    from lerobot.async_inference.policy_server import serve

    serve()


def client() -> None:
    """Move a robot by the plans of a server."""
    _register()
    from lerobot.async_inference.robot_client import async_client

    async_client()
