"""A served model over a real socket: plans, one clear error each, clients that leave."""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import sleep

import numpy as np
import pytest

from jepawm.cli import main
from jepawm.commands import plain_commands
from jepawm.controller import Controller
from jepawm.errors import UserError
from jepawm.hub.load import load
from jepawm.planning.cem import CEM
from jepawm.records import TrainedOn
from jepawm.runs.play.server import HOST, listen
from jepawm.runs.serve.client import RemotePlans
from jepawm.runs.serve.frames import pack, to_array, to_numbers, unpack
from jepawm.runs.serve.server import PlanServer, ServeRules

msgpack = pytest.importorskip("msgpack")
client_of = pytest.importorskip("websockets.sync.client")
exceptions = pytest.importorskip("websockets.exceptions")
FEW = CEM(num_samples=8, num_elites=4, num_iterations=2)
JOINTS = [30.0, 40.0]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[PlanServer, str]]:
    data = TrainedOn(sha256="0" * 64, image_size=64, camera="top", fit="crop", fps=30.0)
    loaded = replace(load("wall"), data=data)
    server, listening = PlanServer(loaded, ServeRules(planner=FEW)), listen(0)
    with server.open(listening) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield server, f"ws://{HOST}:{listening.getsockname()[1]}"
        running.shutdown()
        thread.join()


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_client_gets_the_plans_that_the_loop_makes(served):
    server, url = served
    with connected(url) as plans:
        assert plans.about["camera"] == "top"
        assert (plans.about["frameskip"], plans.about["horizon"], plans.about["action_dim"]) == (
            *(5, 3, 2),
        )
        assert plans.rate_hz == 30.0
        assert plans.commands is None  # the bundled model is of a simulator
        plans.reset(picture(), JOINTS)
        found = plans.plan(picture(), JOINTS)
    loop = server._new_loop()
    loop.reset(picture(), JOINTS)
    np.testing.assert_array_equal(found, loop.plan(picture(), JOINTS))


GOAL = {"do": "reset", "goal": picture(), "joints": JOINTS}
PLAN = {"do": "plan", "picture": picture(), "joints": JOINTS}


def test_what_is_wrong_is_one_error_and_the_next_frame_is_answered(served):
    cases = [
        ("a text", "the frame is a text; send binary frames"),
        (b"\xc1\xff", "the frame of 2 bytes is no msgpack"),
        (msgpack.packb([1, 2]), "the frame holds a list; send a map"),
        (b"\x80\x04\x95cposix\nsystem", "no msgpack"),
        (msgpack.packb({"do": "plan", "picture": msgpack.ExtType(4, b"x")}), "no msgpack"),
        ({"do": "explode"}, "do = 'explode'; ask for about, reset, plan"),
        ({"do": "about", "why": 1}, "about has no entry 'why' (known: none)"),
        (PLAN, "there is no goal"),
        ({"do": "reset", "goal": [1, 2]}, "goal is no array; send a map with dtype"),
        ({**GOAL, "goal": {"dtype": "O", "shape": [1], "data": b""}}, "goal has no dtype of uint8"),
        (
            {**GOAL, "goal": {"dtype": "uint8", "shape": [9, 9, 3], "data": b"12"}},
            "goal of uint8 [9, 9, 3] needs 243 bytes and has 2",
        ),
        ({**GOAL, "goal": picture() / 255.0}, "the goal is float64 (48, 64, 3); give"),
        ({**GOAL, "camera": "wrist"}, "camera 'wrist'; this model learned from camera 'top' alone"),
        ({**GOAL, "joints": "left"}, "joints are no numbers"),
        ({**GOAL, "joints": [1.0, 2.0, 3.0]}, "goal.proprio has the shape (1, 3); give [1, 2]"),
        ({**GOAL, "camera": "top"}, None),
        ({**PLAN, "picture": picture(30, 40)}, "the picture is 40 x 30 and the goal was 64 x 48"),
        ({**PLAN, "joints": [float("nan"), 1.0]}, "NaN or infinite"),
        ({**PLAN, "command": [1.0]}, "the command has 1 numbers; give the 2"),
        (PLAN, None),
    ]
    with raw_client(served[1]) as connection:
        for sent, message in cases:
            connection.send(pack(sent) if isinstance(sent, dict) else sent)
            answer = unpack(connection.recv(timeout=10))
            if message is None:
                assert "error" not in answer
            else:
                assert message in str(answer["error"])
    assert to_array(answer["commands"], "commands").shape == (15, 2)


def test_a_client_that_leaves_in_the_middle_makes_room_for_the_next(served):
    with raw_client(served[1]) as connection:
        connection.send(pack(GOAL))
        connection.recv(timeout=10)
        connection.send(pack(PLAN))
        connection.socket.shutdown(socket.SHUT_RDWR)  # without a word, while the plan is made
    with connected(served[1]) as plans:
        with pytest.raises(UserError, match="there is no goal"):  # that of the other
            plans.plan(picture(), JOINTS)


@contextmanager
def raw_client(url: str):
    """Open a connection that is answered: the client before may still be leaving."""
    for _ in range(100):
        with client_of.connect(url) as connection:
            connection.send(pack({"do": "about"}))
            if "error" not in unpack(connection.recv(timeout=10)):
                yield connection
                return
        sleep(0.05)
    pytest.fail("the server is not free again")


def connected(url: str) -> RemotePlans:
    """Return a client as soon as the one before has left."""
    for _ in range(100):
        try:
            return RemotePlans(url)
        except UserError as error:
            if "another client is served" not in str(error):
                raise
            sleep(0.05)
    pytest.fail("the server is not free again")


def test_one_client_at_a_time_and_no_pages(served):
    with connected(served[1]):
        with pytest.raises(UserError, match="another client is served; close it"):
            RemotePlans(served[1])
    with (
        pytest.raises(exceptions.InvalidStatus, match="403"),
        client_of.connect(served[1], origin="http://evil.example"),
    ):
        pass


def test_a_controller_executes_remote_plans(served):
    bounds = plain_commands(
        low=[-1.0, -1.0], high=[1.0, 1.0], step=[2.0, 2.0], rest=["zero", "zero"]
    )
    now = 0.0

    def wait(seconds: float) -> None:  # time that passes only when the plan is there
        nonlocal now
        if controller._future is not None:
            controller._future.exception()
        now += seconds

    with (
        connected(served[1]) as plans,
        Controller(plans, commands=bounds, clock=lambda: now, pause=wait) as controller,
    ):
        controller.reset(picture(), JOINTS)
        for _ in range(12):
            command = controller.step(picture(), JOINTS)
    assert controller.counts.plans >= 1
    assert controller.counts.held < 12
    assert np.abs(command).max() <= 1.0


def test_a_server_that_is_gone_is_named():
    with pytest.raises(UserError, match=r"no server at ws://127.0.0.1:9 .*; start one by"):
        RemotePlans("ws://127.0.0.1:9")
    with pytest.raises(UserError, match="no server at nonsense"):
        RemotePlans("nonsense")


def test_numbers_come_as_lists_or_arrays():
    assert to_numbers(None, "x") is None
    assert to_numbers([1, 2.5], "x").tolist() == [1.0, 2.5]
    frame = unpack(pack({"x": np.array([1, 2], np.float32)}))
    assert to_numbers(frame["x"], "x").tolist() == [1.0, 2.0]
    with pytest.raises(UserError, match="x are no numbers"):
        to_numbers([True], "x")


@pytest.mark.parametrize("package", ["msgpack", "websockets"])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str, capsys):
    for name in [one for one in sys.modules if one.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["serve", "wall"]) == 2
    assert "pip install 'jepawm[serve]'" in capsys.readouterr().err
