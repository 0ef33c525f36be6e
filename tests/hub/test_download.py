"""Downloads from a local server: resumed, checked, kept; offline and failures are clear."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jepawm.errors import UserError

huggingface_hub = pytest.importorskip("huggingface_hub")

from huggingface_hub import constants  # noqa: E402

from jepawm.hub.download import address, fetch  # noqa: E402

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()
get = partial(fetch, "owner/models", "model.pth.tar", by_hand="import it")


class Hub(ThreadingHTTPServer):
    """A server of one file, as the hub answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.etag = f'"{SHA256}"'
        self.sent = CONTENT
        self.cuts: list[int] = []  # bytes after which the next answers break off
        self.ranges: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if self.path != "/owner/models/resolve/main/model.pth.tar":
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        content = self.server.sent[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", self.server.etag)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        if wanted:
            size = len(self.server.sent)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        if not body:
            return
        self.server.ranges.append(wanted)
        cut = self.server.cuts.pop(0) if self.server.cuts else len(content)
        self.wfile.write(content[:cut])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    template = (
        f"http://127.0.0.1:{server.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("JEPAWM_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)
    monkeypatch.setenv("TQDM_POSITION", "-1")  # progress where no terminal is
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_fetched_once_and_kept_for_offline(hub: Hub, monkeypatch, capfd):
    path = get()
    assert path.read_bytes() == CONTENT
    assert "model.pth.tar: 100%" in capfd.readouterr().err
    hub.etag = '"other"'
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert get() == path
    assert len(hub.ranges) == 1
    assert not list(path.parent.glob("*.part"))


def test_a_cut_connection_is_resumed(hub: Hub):
    hub.cuts = [1000, 500]
    assert get().read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_a_download_that_gave_up_leaves_nothing_half_done(hub: Hub):
    hub.cuts = [1000] + [0] * 6
    with pytest.raises(
        UserError,
        match=r"(cannot fetch|no) model\.pth\.tar .*try again, or fetch model\.pth\.tar by hand",
    ):
        get()
    hub.cuts, hub.ranges = [], []
    assert get().read_bytes() == CONTENT
    assert hub.ranges == [None]


def test_a_wrong_checksum_is_refused_and_not_kept(hub: Hub):
    hub.sent = CONTENT[:-1] + b"?"
    with pytest.raises(
        UserError, match=r"wrong checksum: \w{64} instead of \w{64}; it was removed"
    ):
        get()
    hub.sent = CONTENT
    assert get().read_bytes() == CONTENT


def test_a_damaged_cache_is_noticed(hub: Hub):
    path = get()
    path.write_bytes(b"damage")
    with pytest.raises(UserError, match="wrong checksum"):
        get()
    assert get().read_bytes() == CONTENT


def test_checksums_of_git_count_and_others_are_reported(hub: Hub, caplog):
    blob = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    hub.etag = f'"{blob[::-1]}"'
    with pytest.raises(UserError, match="wrong checksum"):
        get()
    hub.etag = f'"{blob}"'
    get().unlink()
    assert caplog.text == ""
    hub.etag = '"v1-7"'
    get()
    assert "no checksum of model.pth.tar" in caplog.text


def test_the_cache_of_huggingface_hub_is_used(hub: Hub, tmp_path: Path, monkeypatch):
    found = huggingface_hub.hf_hub_download("owner/models", "model.pth.tar")
    path = Path(found)
    hub.ranges = []
    assert get() == path
    assert hub.ranges == []
    path.resolve().write_bytes(b"damage")
    with pytest.raises(UserError, match="wrong checksum"):
        get()


def test_offline_without_the_file_names_file_and_address(hub: Hub, monkeypatch):
    url = address("owner/models", "model.pth.tar")
    assert url.endswith("/owner/models/resolve/main/model.pth.tar")
    advice = f"fetch model.pth.tar by hand from {url} where there is a network, and import it"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set") as offline:
        get()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    nowhere = "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    template = nowhere + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(UserError, match=r"the hub cannot be reached") as unreachable:
        get()
    assert advice in str(offline.value)
    assert "http://127.0.0.1:9/owner/models/resolve/main/model.pth.tar" in str(unreachable.value)


def test_a_file_that_the_hub_lacks_is_an_error(hub: Hub):
    with pytest.raises(UserError, match=r"cannot fetch other\.pth \(.*404"):
        fetch("owner/models", "other.pth", by_hand="import it")
