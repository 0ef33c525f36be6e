"""A stand-in for the Hugging Face hub: a real server that speaks the endpoints of its library."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse


class Hub(ThreadingHTTPServer):
    """Repositories by name, each with its files; those that are large lie apart, as in the hub."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}  # large files by their SHA-256
        self.tokens = {"hf_right"}
        self.down = False
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def sha(self, repo: str) -> str:
        """Return the commit of a repository: a hash of its content."""
        content = sorted(
            (k, hashlib.sha256(v).hexdigest()) for k, v in self.repositories[repo].items()
        )
        return hashlib.sha1(json.dumps(content).encode()).hexdigest()


def is_large(name: str) -> bool:
    return name.endswith(".safetensors")


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not body and self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        path = unquote(urlparse(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if self.server.down:
            self._send(503, {"error": "down"})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4:], body)
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif parts[0] == "objects":
            self.server.objects[parts[1]] = body
            self._send(200, {})
        elif "resolve" in parts:
            self._resolve("/".join(parts[:2]), "/".join(parts[4:]))
        elif path == "/api/validate-yaml":
            self._send(200, {"errors": [], "warnings": []})
        else:
            self._send(404, {"error": f"nothing at {path}"})

    def _may_write(self) -> bool:
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return given in self.server.tokens

    def _create(self, asked: dict) -> None:
        owner = asked.get("organization") or "me"
        repo = f"{owner}/{asked['name']}"
        if not self._may_write():
            self._send(401, {"error": "Invalid username or password."})
        elif repo in self.server.repositories:
            url = f"{self.server.address}/{repo}"
            self._send(409, {"error": "You already created this model repo", "url": url})
        else:
            self.server.repositories[repo] = {}
            self._send(200, {"url": f"{self.server.address}/{repo}"})

    def _api(self, repo: str, rest: list[str], body: bytes) -> None:
        files = self.server.repositories.get(repo)
        if files is None:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif rest[:1] == ["tree"]:
            self._send(200, [self._entry(name, content) for name, content in files.items()])
        elif rest[:1] == ["preupload"]:
            modes = [
                {
                    "path": file["path"], "shouldIgnore": False, "oid": None,
                    "uploadMode": "lfs" if is_large(file["path"]) else "regular",
                }
                for file in json.loads(body)["files"]
            ]  # fmt: skip
            self._send(200, {"files": modes})
        elif rest[:1] == ["commit"]:
            for line in body.decode().splitlines():
                self._commit(files, json.loads(line))
            url = f"{self.server.address}/{repo}/commit/{self.server.sha(repo)}"
            self._send(200, {"commitUrl": url, "commitOid": self.server.sha(repo), "success": True})
        else:
            names = [{"rfilename": name} for name in files]
            found = {"_id": "0", "id": repo, "modelId": repo, "sha": self.server.sha(repo)}
            self._send(200, {**found, "siblings": names, "private": False, "tags": []})

    def _commit(self, files: dict[str, bytes], line: dict) -> None:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = self.server.objects[value["oid"]]

    def _entry(self, name: str, content: bytes) -> dict:
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": git}
        if is_large(name):
            large = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
            entry["lfs"] = {**large, "pointerSize": 130}
        return entry

    def _batch(self, asked: dict) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.server.address}/objects/{one['oid']}"}}}
            for one in asked["objects"]
        ]
        self._send(200, {"transfer": "basic", "objects": objects})

    def _resolve(self, repo: str, name: str) -> None:
        content = self.server.repositories.get(repo, {}).get(name)
        if content is None:
            missing = "EntryNotFound" if repo in self.server.repositories else "RepoNotFound"
            self._send(404, {"error": "not found"}, {"X-Error-Code": missing})
            return
        entry = self._entry(name, content)
        large = entry.get("lfs")
        tag = large["oid"] if isinstance(large, dict) else entry["oid"]
        self._answer(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": self.server.sha(repo)})

    def _send(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        self._answer(
            status,
            json.dumps(value).encode(),
            {"Content-Type": "application/json", **(headers or {})},
        )

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def serving(server: Hub) -> Iterator[Hub]:
    """Serve while the block runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
