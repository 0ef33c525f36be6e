"""The server answers its own page on this machine, and nobody else."""

import json
import random
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Event, current_thread

import pytest

from jepawm.cli import main
from jepawm.errors import UserError
from jepawm.hub.load import load
from jepawm.runs.play.server import HOST, Worker, build_app, listen
from jepawm.runs.play.thinking import Player, Players

pytest.importorskip("uvicorn")
testclient = pytest.importorskip("starlette.testclient")
PORT = 8765
ASK = {"do": "plan", "model": "wall", "start": [16, 48], "goal": [50, 14], "planner": "propose"}


@cache
def client():
    return client_of(Worker(lambda: Players(Player(load("wall")), {})))


def client_of(worker: Worker):
    return testclient.TestClient(build_app(worker, port=PORT), base_url=f"http://{HOST}:{PORT}")


def test_the_page_and_what_it_needs():
    page = client().get("/")
    assert page.status_code == 200
    assert 'lang="en"' in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name, kind in (("page.css", "text/css"), ("page.js", "text/javascript")):
        assert client().get(f"/{name}").headers["content-type"].startswith(kind)
    about = client().get("/about").json()
    assert about["models"] == ["wall"]
    assert len(about["scenes"]) == 8
    assert "error" in client().get("/about?model=pusht").json()


def test_a_question_is_answered():
    answer = client().post("/ask", json=ASK)
    assert answer.status_code == 200
    assert len(answer.json()["path"]) == 7


def test_nothing_else_is_served():
    for path in ("/etc/passwd", "/../server.py", "/%2e%2e/server.py", "/page.html", "/static/x"):
        assert client().get(path).status_code == 404
    assert client().get("/ask").status_code == 405
    assert client().post("/", json=ASK).status_code == 405


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": f"evil.example:{PORT}"},
        {"host": HOST},
        {"host": f"{HOST}:{PORT + 1}"},
        {"origin": "http://evil.example"},
        {"origin": f"https://{HOST}:{PORT}"},
        {"origin": "null"},
    ],
)
def test_others_are_refused(headers: dict[str, str]):
    for answer in (
        client().get("/", headers=headers),
        client().post("/ask", json=ASK, headers=headers),
    ):
        assert answer.status_code == 403
    own = {"host": f"localhost:{PORT}", "origin": f"http://localhost:{PORT}"}
    assert client().get("/", headers=own).status_code == 200


def test_forms_of_other_pages_are_refused():
    answer = client().post("/ask", content=json.dumps(ASK), headers={"content-type": "text/plain"})
    assert answer.status_code == 400
    assert answer.json()["error"] == "send application/json"


def test_damaged_messages_are_refused_and_the_next_is_answered():
    chance = random.Random(1)
    whole = json.dumps(ASK).encode()
    kind = {"content-type": "application/json"}
    for _ in range(1000):
        cut = chance.randrange(len(whole))
        body = whole[:cut] + bytes([chance.randrange(256)]) + whole[cut + chance.randint(1, 3) :]
        answer = client().post("/ask", content=body, headers=kind)
        assert answer.status_code in (200, 400)
        assert answer.status_code == 200 or answer.json()["error"]
    assert client().post("/ask", content=b"x" * 70_000, headers=kind).status_code == 400
    assert client().post("/ask", json=ASK).status_code == 200


def test_two_tabs_are_answered_each_its_own():
    far = {**ASK, "goal": [50.0, 50.0]}

    def ask(question: dict) -> list:
        return client().post("/ask", json=question).json()["path"]

    alone = [ask(ASK), ask(far)]
    with ThreadPoolExecutor(4) as tabs:
        found = list(tabs.map(ask, [ASK, far] * 4))
    assert found == alone * 4


def test_the_page_is_there_before_its_model():
    begin = Event()

    def open_players() -> Players:
        begin.wait()
        raise UserError("this model has no decoder")

    early = client_of(Worker(open_players))
    assert early.get("/").status_code == 200
    begin.set()
    answer = early.get("/about")
    assert (answer.status_code, answer.json()) == (400, {"error": "this model has no decoder"})


def test_one_thread_does_all_the_thinking():
    threads = set()

    class Watched(Players):
        def answer(self, ask):
            threads.add(current_thread().name)
            return super().answer(ask)

    own = client_of(Worker(lambda: Watched(Player(load("wall")), {})))
    with ThreadPoolExecutor(4) as tabs:
        answers = list(tabs.map(lambda _: own.post("/ask", json={**ASK, "do": "look"}), range(8)))
    assert [one.status_code for one in answers] == [200] * 8
    assert len(threads) == 1


def test_a_play_is_exported_into_one_file():
    page = client().post("/export", json=[ASK, {**ASK, "do": "execute"}]).text
    assert "<script src" not in page
    assert 'rel="stylesheet"' not in page
    assert "</script><script>" in page
    data = page.split('id="recording">', 1)[1].split("</script>", 1)[0]
    recording = json.loads(data)
    assert [step["ask"]["do"] for step in recording["steps"]] == ["plan", "execute"]
    assert recording["steps"][1]["answer"]["success"] is True
    assert client().post("/export", json=[]).status_code == 400


def test_the_next_port_is_taken_where_one_is_in_use():
    with listen(0) as first:
        port = first.getsockname()[1]
        with listen(port) as second:
            assert second.getsockname()[1] > port
            assert second.getsockname()[0] == HOST
    with pytest.raises(UserError, match="--port 70000; give 0"):
        listen(70_000)


def test_only_this_machine_can_connect():
    with listen(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
        assert listening.family == socket.AF_INET


def test_a_run_without_a_decoder_says_how_to_train_one(tiny_run, capsys):
    assert main(["play", str(tiny_run), "--no-browser"]) == 2
    assert f"train one by `jepawm train-decoder {tiny_run}`" in capsys.readouterr().err


def test_a_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["play", "wall", "--no-browser"]) == 2
    told = capsys.readouterr().err
    assert "the page needs uvicorn, which is not installed; run: pip install 'jepawm[play]'" in told
