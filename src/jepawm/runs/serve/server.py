"""`jepawm serve`: plans for a robot's own program, one client at a time, on this machine alone."""

import logging
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from jepawm.contracts import Planner
from jepawm.control import RobotLoop
from jepawm.data.resample import Fit
from jepawm.engine.process import tune_process
from jepawm.errors import UserError, missing_extra
from jepawm.hub.load import LoadedModel, load
from jepawm.real_time import Picture
from jepawm.runs.play.server import HOST, listen
from jepawm.runs.serve.frames import MOST_BYTES, pack, require_msgpack, to_array, to_numbers, unpack

if TYPE_CHECKING:  # at run time they are an extra
    from websockets.sync.server import Server, ServerConnection

_LOG = logging.getLogger(__name__)
_BUSY = "another client is served; close it, or start a second server by --port"
_MOST_CAMERAS = 64
_PATIENCE_S = 10.0
"""Seconds that a client waits in vain for its first frame, while another is served."""
_ENTRIES: Mapping[str, frozenset[str]] = {
    "about": frozenset(),
    "reset": frozenset({"goal", "joints", "camera"}),
    "plan": frozenset({"picture", "joints", "camera", "command"}),
}
"""What may be asked for, and the entries of each beside `do`."""


@dataclass(frozen=True, kw_only=True)
class ServeRules:
    """How a served model plans."""

    horizon: int = 3
    """Action blocks of a plan."""
    planner: Planner | None = None
    """Search; None: the experiment's."""
    fit: Fit | None = None
    """How pictures become square; None: as those of the training data did."""
    cameras: tuple[str, ...] = ()
    """Which of several cameras it plans with; none: all that the model learned from."""
    seed: int = 0
    """Seed of the planner's random numbers."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """What was served, when the server has ended."""

    url: str
    """Its address."""
    model: str
    """The model."""
    clients: int
    """Clients that were served."""
    plans: int
    """Plans that were made."""


def serve_run(source: str, *, port: int, rules: ServeRules, device: str) -> Served:
    """Serve plans of a model until it is interrupted.

    Args:
        source: run folder, or bundled or released name.
        port: port to listen on; the next free one is taken where it is in use.
        rules: how it plans.
        device: device to plan on.
    """
    require_websockets()
    require_msgpack()
    tune_process()
    server = PlanServer(load(source, device=device), rules)
    listening = listen(port)
    url = f"ws://{HOST}:{listening.getsockname()[1]}"
    _LOG.info("%s plans with %s; Ctrl-C ends it", url, source)
    with server.open(listening) as running, suppress(KeyboardInterrupt):
        running.serve_forever()
    return Served(url=url, model=source, clients=server.clients, plans=server.plans)


def require_websockets() -> ModuleType:
    """Import what serves."""
    try:
        import websockets.sync.server
    except ImportError as error:
        raise missing_extra("serving", error, package="websockets", extra="serve") from error
    return websockets.sync.server


class PlanServer:
    """Answer the frames of one client after the other."""

    def __init__(self, loaded: LoadedModel, rules: ServeRules) -> None:
        """Take the model and how it plans."""
        self._loaded, self._rules = loaded, rules
        self._free = threading.Lock()
        self._new_loop()  # what cannot plan is told before a client comes
        self.clients = self.plans = 0

    def open(self, listening: socket.socket) -> "Server":
        """Return the server on a socket; browsers, which name an origin, are refused."""
        module = require_websockets()
        return module.serve(
            self._serve, sock=listening, origins=[None], max_size=MOST_BYTES, compression=None
        )

    def _new_loop(self) -> RobotLoop:
        rules = self._rules
        return self._loaded.robot(
            fit=rules.fit,
            horizon=rules.horizon,
            planner=rules.planner,
            cameras=rules.cameras,
            seed=rules.seed,
        )

    def _serve(self, connection: "ServerConnection") -> None:
        """Answer a client until it leaves; an error is an answer, and the next frame is read."""
        from websockets.exceptions import ConnectionClosed

        if not self._free.acquire(blocking=False):
            with suppress(ConnectionClosed, TimeoutError):
                connection.recv(timeout=_PATIENCE_S)
                connection.send(pack({"error": _BUSY}))
            return
        self.clients += 1
        _LOG.info("client %d is here", self.clients)
        session = _Session(self._loaded, self._new_loop())
        try:
            while True:
                answer = session.answer(connection.recv())
                self.plans += "commands" in answer and "seconds" in answer
                connection.send(pack(answer))
        except ConnectionClosed:
            _LOG.info("client %d left", self.clients)
        finally:
            self._free.release()


class _Session:
    """What one client asked for so far."""

    def __init__(self, loaded: LoadedModel, loop: RobotLoop) -> None:
        self._loaded, self._loop = loaded, loop
        self._sizes: dict[str, tuple[int, ...]] | None = None

    def answer(self, frame: object) -> dict[str, object]:
        """Return the answer to a frame; what is wrong with it is an `error`."""
        try:
            asked = unpack(frame)
            kind = asked.get("do")
            if not isinstance(kind, str) or kind not in _ENTRIES:
                raise UserError(f"do = {str(kind)[:40]!r}; ask for {', '.join(_ENTRIES)}")
            unknown = sorted(str(name)[:40] for name in asked.keys() - _ENTRIES[kind] - {"do"})
            if unknown:
                known = ", ".join(sorted(_ENTRIES[kind])) or "none"
                raise UserError(f"{kind} has no entry {unknown[0]!r} (known: {known})")
            return {"about": self._about, "reset": self._reset, "plan": self._plan}[kind](asked)
        except UserError as error:
            return {"error": str(error)}

    def _about(self, _asked: Mapping[str, object]) -> dict[str, object]:
        loaded, loop = self._loaded, self._loop
        mean = loaded.normalizer.proprio_mean
        return {
            "model": loaded.name,
            "image_size": loaded.image_size,
            "camera": ",".join(loop.cameras) or None,
            "cameras": list(loop.cameras),
            "rate_hz": loop.rate_hz,
            "frameskip": loop.frameskip,
            "horizon": loop.horizon,
            "action_dim": loop.width,
            "proprio_dim": 0 if mean is None else len(mean),
            "commands": None if loop.commands is None else loop.commands.to_json(),
        }

    def _reset(self, asked: Mapping[str, object]) -> dict[str, object]:
        self._require_camera(asked)
        goal = _pictures(asked.get("goal"), "goal")
        self._loop.reset(goal, to_numbers(asked.get("joints"), "joints"))
        self._sizes = _sizes(goal)
        return {"done": "reset"}

    def _plan(self, asked: Mapping[str, object]) -> dict[str, object]:
        self._require_camera(asked)
        picture = _pictures(asked.get("picture"), "picture")
        before = self._sizes or {}
        for name, size in _sizes(picture).items():
            if name in before and size != before[name]:
                sizes = [" x ".join(map(str, reversed(one))) for one in (size, before[name])]
                raise UserError(
                    f"the picture{name and f' of {name}'} is {sizes[0]} and the goal was {sizes[1]}; "
                    "send both as the same camera gives them"
                )
        began = perf_counter()
        commands = self._loop.plan(
            picture,
            to_numbers(asked.get("joints"), "joints"),
            command=to_numbers(asked.get("command"), "command"),
        )
        return {"commands": commands, "seconds": perf_counter() - began}

    def _require_camera(self, asked: Mapping[str, object]) -> None:
        """Refuse pictures of another camera, where both sides name theirs."""
        given, known = asked.get("camera"), self._loop.cameras
        if given is not None and known and given not in (*known, ",".join(known)):
            sees = (
                f"camera {known[0]!r} alone" if len(known) == 1 else f"cameras {', '.join(known)}"
            )
            raise UserError(f"camera {str(given)[:80]!r}; this model learned from {sees}")


def _pictures(value: object, what: str) -> Picture:
    """Return a picture, or those of several cameras by name."""
    if not isinstance(value, dict) or "data" in value:
        return _picture(value, what)
    if not 1 <= len(value) <= _MOST_CAMERAS:
        raise UserError(f"the {what} is a map of {len(value)} pictures; give one for each camera")
    return {str(name)[:80]: _picture(one, f"{what} of {name}"[:80]) for name, one in value.items()}


def _sizes(pictures: Picture) -> dict[str, tuple[int, ...]]:
    """Return height and width of each picture by the camera's name; of a single one by an empty name."""
    named = pictures if isinstance(pictures, Mapping) else {"": pictures}
    return {name: one.shape[:2] for name, one in named.items()}


def _picture(value: object, what: str) -> UInt8[np.ndarray, "height width 3"]:
    """Return a picture; another kind of array is refused."""
    array = to_array(value, what)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise UserError(
            f"the {what} is {array.dtype} {array.shape}; give uint8 [height, width, 3], red first"
        )
    return array
