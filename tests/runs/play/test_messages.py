"""Messages of the page: well-formed ones are read, whatever else is refused in one line."""

import contextlib
import json
import random

import pytest

from jepawm.errors import UserError
from jepawm.runs.play.messages import MOST_BYTES, Ask, ask_to_json, read_ask, read_asks

FINE = {"do": "plan", "model": "wall", "start": [10.0, 20.0], "goal": [50, 14]}


def encoded(**changes: object) -> bytes:
    return json.dumps({**FINE, **changes}).encode()


def test_a_message_is_read():
    ask = read_ask(encoded(planner="cem", noise=0.5))
    assert ask == Ask(
        do="plan", model="wall", start=(10.0, 20.0), goal=(50.0, 14.0), planner="cem", noise=0.5
    )
    assert read_asks(b"[" + encoded() + b"]")[0].planner == "fast"
    assert read_ask(json.dumps(ask_to_json(ask)).encode()) == ask


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 60_000, "no JSON"),
        (b" " * (MOST_BYTES + 1), "at most"),
        (encoded(start=[float("nan"), 1]), "no JSON"),
        (encoded(do="delete"), "no message of the page"),
        (encoded(path="../../etc/passwd"), "no message of the page"),
        (encoded(planner="__class__"), "planner = '__class__'; known"),
        (encoded(start=[]), "1 to 64 finite numbers"),
        (encoded(start=[1e400, 1]), "no JSON|finite"),
        (encoded(samples=10**9), "samples = 1000000000; give a number from 2 to 512"),
        (encoded(iterations=0), "iterations = 0"),
        (encoded(horizon="6"), "no message of the page"),
        (b"null", "no message of the page"),
        (b"[]", "no message of the page"),
        (b'"plan"', "no message of the page"),
    ],
)
def test_anything_else_is_refused(body: bytes, message: str):
    with pytest.raises(UserError, match=message):
        read_ask(body)


def test_lists_have_a_length():
    for body in (b"[]", b"{}", b"[" + b",".join([encoded()] * 41) + b"]"):
        with pytest.raises(UserError, match="a list of 1 to 40 messages"):
            read_asks(body)


def test_a_thousand_damaged_messages_are_read_or_refused():
    chance = random.Random(0)
    whole = encoded(planner="cem", samples=12, iterations=3, noise=0.1, metric="l1", seed=5)
    for _ in range(1000):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(body))
            kind = chance.randrange(3)
            if kind == 0:
                body[place] = chance.randrange(256)
            elif kind == 1:
                del body[place : place + chance.randint(1, 9)]
            else:
                body[place:place] = chance.choice(
                    [b"[", b"{", b'"', b"1e999", b"-", b"\0", b"null"]
                )
        for read in (read_ask, read_asks):
            with contextlib.suppress(UserError):
                read(bytes(body))
