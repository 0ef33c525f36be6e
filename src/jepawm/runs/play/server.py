"""The local server of the page: it answers this machine alone, and serves nothing but what is listed here."""

import asyncio
import contextlib
import json
import logging
import socket
import webbrowser
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from jepawm.errors import UserError, missing_extra
from jepawm.runs.play.messages import MOST_BYTES, read_ask, read_asks
from jepawm.runs.play.recording import record
from jepawm.runs.play.scenes import SCENES, scenes_to_json

if TYPE_CHECKING:  # at run time they are an extra, or would hold up the page: torch takes a second
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from jepawm.runs.play.thinking import Players

HOST = "127.0.0.1"
PORTS_TRIED = 20
"""Ports that are tried, from the one that is asked for."""
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
Scope = MutableMapping[str, Any]  # pyright: ignore[reportExplicitAny]


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Where the page is served."""

    url: str
    """Its address."""
    port: int
    """Its port."""
    model: str
    """The model that it begins with."""


def play_run(
    source: str,
    *,
    port: int = 8765,
    browser: bool = True,
) -> Serving:
    """Serve the page until it is interrupted; it is there at once, and its model a little later.

    Args:
        source: run folder or bundled model, with a decoder and a probe.
        port: port to listen on; the next free one is taken where it is in use.
        browser: whether to open the page.
    """
    uvicorn, _ = require_web()
    listening = listen(port)
    serving = Serving(
        url=f"http://{HOST}:{listening.getsockname()[1]}/",
        port=listening.getsockname()[1],
        model=source,
    )
    worker = Worker(lambda: _open_players(source))
    config = uvicorn.Config(
        build_app(worker, port=serving.port),
        log_level="warning",
        access_log=False,
        limit_concurrency=64,
    )
    server = uvicorn.Server(config)

    def opened(players: "Future[Players]") -> None:
        server.should_exit |= players.exception() is not None

    worker.players.add_done_callback(opened)
    moved = "" if port in (0, serving.port) else f" (port {port} is in use)"
    _LOG.info("%s%s; Ctrl-C ends it", serving.url, moved)
    if browser:
        webbrowser.open(serving.url)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    worker.close()
    return serving


class Worker:
    """The one thread that thinks: it opens the models, then answers one question after another."""

    def __init__(self, begin: "Callable[[], Players]") -> None:
        """Begin to open the models."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="play")
        self.players = self._thread.submit(begin)

    async def do(self, work: "Callable[[Players], _T]") -> _T:
        """Return what `work` makes of the models, when its turn has come."""
        return await asyncio.wrap_future(self._thread.submit(lambda: work(self.players.result())))

    def close(self) -> None:
        """Wait for what is being thought; say why the models could not be opened."""
        self._thread.shutdown(cancel_futures=True)
        if not self.players.cancelled() and (error := self.players.exception()) is not None:
            raise error


def require_web() -> tuple[ModuleType, ModuleType]:
    """Import what serves the page."""
    try:
        import uvicorn
    except ImportError as error:
        raise missing_extra("the page", error, package="uvicorn", extra="play") from error
    try:
        import starlette
    except ImportError as error:
        raise missing_extra("the page", error, package="starlette", extra="play") from error
    return uvicorn, starlette


def listen(port: int) -> socket.socket:
    """Return a socket on `port` of this machine alone, or on the next port that is free."""
    if not 0 <= port <= 65_535:
        raise UserError(f"--port {port}; give 0 (any) to 65535")
    for number in range(port, min(port + PORTS_TRIED, 65_536)):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, number))
            listening.listen(128)
        except OSError:
            listening.close()
        else:
            return listening
    raise UserError(f"ports {port} to {port + PORTS_TRIED - 1} are in use; give another --port")


def _open_players(source: str) -> "Players":
    """Load the model of the page; the bundled ones of the tour are loaded when they are asked for."""
    from jepawm.engine.process import tune_process
    from jepawm.runs.play.thinking import open_players

    tune_process()
    return open_players(source)


def build_app(worker: Worker, *, port: int) -> "Starlette":
    """Return the application; it answers requests to `port` of this machine."""
    require_web()
    from starlette.applications import Starlette
    from starlette.routing import Route

    routes = [Route(path, _file(name, kind)) for path, (name, kind) in _FILES.items()]
    routes += [
        Route("/about", _about(worker)),
        Route("/ask", _asked(worker), methods=["POST"]),
        Route("/export", _exporting(worker), methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(OnlyThisMachine, port=port)
    return app


class OnlyThisMachine:
    """Refuse what was not asked from the page itself: other hosts, other origins."""

    def __init__(self, app: Callable[..., Awaitable[None]], *, port: int) -> None:
        """Take the application."""
        self._app = app
        hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
        self._hosts = hosts
        self._origins = {f"http://{host}" for host in hosts}

    async def __call__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[Any]],  # pyright: ignore[reportExplicitAny]
        send: Callable[[Any], Awaitable[None]],  # pyright: ignore[reportExplicitAny]
    ) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        from starlette.responses import PlainTextResponse

        given = [(key.lower(), value) for key, value in scope.get("headers", [])]
        hosts = [value.decode("latin-1") for key, value in given if key == b"host"]
        origins = [value.decode("latin-1") for key, value in given if key == b"origin"]
        fine = len(hosts) == 1 and hosts[0] in self._hosts and set(origins) <= self._origins
        if scope["type"] != "http" or not fine:
            refusal = PlainTextResponse("this page answers only its own machine", status_code=403)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _file(name: str, kind: str) -> "Callable[[Request], Awaitable[Response]]":
    content = files("jepawm.runs.play").joinpath(name).read_bytes()

    async def answer(_request: "Request") -> "Response":
        from starlette.responses import Response

        return Response(content, media_type=kind, headers=_HEADERS)

    return answer


def _about(worker: Worker) -> "Callable[[Request], Awaitable[Response]]":
    async def answer(request: "Request") -> "Response":
        asked = request.query_params.get("model")

        def tell(players: "Players") -> dict[str, object]:
            name = players.names[0] if asked is None else asked
            return {
                **players.find(name).about(),
                "model": name,
                "models": players.names,
                "scenes": scenes_to_json(SCENES),
            }

        try:
            return _json(await worker.do(tell))
        except UserError as error:
            return _json({"error": str(error)}, status=400)

    return answer


def _asked(worker: Worker) -> "Callable[[Request], Awaitable[Response]]":
    """Answer one question."""

    async def answer(request: "Request") -> "Response":
        try:
            ask = read_ask(await _body(request))
            return _json(await worker.do(lambda players: players.answer(ask)))
        except UserError as error:
            return _json({"error": str(error)}, status=400)

    return answer


def _exporting(worker: Worker) -> "Callable[[Request], Awaitable[Response]]":
    """Answer with the page and the answers to some messages in one file."""

    async def answer(request: "Request") -> "Response":
        from starlette.responses import Response

        try:
            asks = read_asks(await _body(request))
            page = await worker.do(lambda players: record(players, asks))
        except UserError as error:
            return _json({"error": str(error)}, status=400)
        return Response(page, media_type="text/html", headers=_HEADERS)

    return answer


async def _body(request: "Request") -> bytes:
    """Read a message, no further than it may be long."""
    from starlette.requests import ClientDisconnect

    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/json":
        raise UserError("send application/json")
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                raise UserError(f"a message has at most {MOST_BYTES} bytes")
    except ClientDisconnect as error:
        raise UserError("the page was closed") from error
    return body


def _json(content: object, *, status: int = 200) -> "Response":
    from starlette.responses import Response

    text = json.dumps(content, allow_nan=False)
    return Response(text, status_code=status, media_type="application/json", headers=_HEADERS)
