"""The other end of `jepawm serve`: plans of a server, for a `Controller` in another process."""

from contextlib import ExitStack
from types import TracebackType

import numpy as np
from jaxtyping import Float

from jepawm.commands import Commands, commands_from_json
from jepawm.control import Command, Joints
from jepawm.errors import UserError
from jepawm.real_time import Picture
from jepawm.runs.serve.frames import MOST_BYTES, pack, to_array, unpack
from jepawm.runs.serve.server import require_websockets


class RemotePlans:
    """Plans of a server; `jepawm.Controller(jepawm.RemotePlans(url))` executes them."""

    def __init__(self, url: str = "ws://127.0.0.1:8766", *, timeout_s: float = 10.0) -> None:
        """Take the address that `jepawm serve` prints, and the seconds to wait for an answer."""
        require_websockets()
        from websockets.exceptions import InvalidURI, WebSocketException
        from websockets.sync.client import connect

        self._url, self._timeout, self._open = url, timeout_s, ExitStack()
        try:
            opening = connect(url, max_size=MOST_BYTES, compression=None)
            self._connection = self._open.enter_context(opening)
        except (OSError, InvalidURI, WebSocketException) as error:
            raise UserError(f"no server at {url} ({error}); start one by `jepawm serve`") from error
        about = self._about()
        told, rate = about.get("commands"), about.get("rate_hz")
        self.about = about
        """What the server says of its model."""
        self.rate_hz = rate if isinstance(rate, float) else None
        self.commands: Commands | None = (
            None if told is None else commands_from_json(told, source=url)
        )

    def reset(self, goal: Picture, joints: Joints | None = None) -> None:
        """Take the goal."""
        self._ask({"do": "reset", "goal": goal, "joints": _numbers(joints)})

    def plan(
        self, picture: Picture, joints: Joints | None = None, *, command: Command | None = None
    ) -> Float[np.ndarray, "T a"]:
        """Return commands `[T, a]` that follow `command`, as seen now."""
        asked = {"picture": picture, "joints": _numbers(joints), "command": _numbers(command)}
        return to_array(self._ask({"do": "plan", **asked}).get("commands"), "commands").copy()

    def close(self) -> None:
        """Leave the server."""
        self._open.close()

    def __enter__(self) -> "RemotePlans":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the server."""
        self.close()

    def _about(self) -> dict[str, object]:
        try:
            return self._ask({"do": "about"})
        except UserError:
            self.close()
            raise

    def _ask(self, content: dict[str, object]) -> dict[str, object]:
        from websockets.exceptions import ConnectionClosed

        try:
            self._connection.send(pack(content))
            answer = unpack(self._connection.recv(timeout=self._timeout))
        except (ConnectionClosed, TimeoutError) as error:
            raise UserError(f"{self._url} does not answer any more; start it again") from error
        if "error" in answer:
            raise UserError(f"{self._url}: {answer['error']}")
        return answer


def _numbers(values: Joints | None) -> list[float] | None:
    return None if values is None else np.asarray(values, dtype=np.float64).reshape(-1).tolist()
