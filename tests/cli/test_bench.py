"""`jepawm bench planning` prints one measurement, and refuses what makes no sense."""

import json

import pytest

from jepawm.cli import main
from jepawm.cli.bench import parse_bytes
from jepawm.errors import UserError

SHORT = ("--samples", "2", "--iterations", "1", "--horizon", "1", "--repeats", "1")


def test_one_json_object(capsys):
    arguments = ["bench", "planning", "--size", "lewm", *SHORT, "--max-memory", "1GiB", "--json"]
    assert main([*arguments, "--device", "cpu"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["size"] == "lewm"
    assert result["engine"]["max_memory_bytes"] == 2**30
    assert {"seconds_per_plan", "gflop", "fraction_of_peak", "peak_memory_mib"} <= set(result)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2GiB", 2**31), ("500MB", 500_000_000), ("1.5 kB", 1500), ("4096", 4096), ("8B", 8)],
)
def test_amounts_of_memory(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "2 apples", "GiB", "-1GiB"])
def test_other_texts_are_no_amount_of_memory(text):
    with pytest.raises(UserError, match="amount of memory"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--max-memory", "1KB"), "least that works"),
        (("--repeats", "0"), "--repeats 0"),
        (("--threads", "-1"), "num_threads"),
        (("--samples", "0"), "--samples 0"),
    ],
)
def test_what_makes_no_sense_ends_with_code_2(wrong, message, capsys):
    assert main(["bench", "planning", *SHORT, *wrong, "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err
