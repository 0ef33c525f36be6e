"""Protocols: the paper's numbers, and what cannot be run."""

import pytest

from jepawm.errors import UserError
from jepawm.protocol import PROTOCOLS, Protocol


def test_paper_is_one_open_loop_plan():
    paper = PROTOCOLS["paper"]
    assert (paper.horizon, paper.num_action_steps, paper.frameskip) == (6, 6, 5)
    assert (paper.max_env_steps, paper.num_steps, paper.num_plans) == (30, 6, 1)
    assert paper.success == "end"


def test_mpc_replans_every_block():
    mpc = PROTOCOLS["mpc"]
    assert (mpc.num_action_steps, mpc.max_env_steps) == (1, 60)
    assert (mpc.num_steps, mpc.num_plans) == (12, 12)


def test_last_plan_may_be_cut_short():
    assert Protocol(name="x", horizon=6, num_action_steps=4, max_env_steps=50).num_plans == 3


def test_names_are_keys():
    assert all(protocol.name == name for name, protocol in PROTOCOLS.items())


@pytest.mark.parametrize(
    "fields",
    [
        {"horizon": 0},
        {"num_action_steps": 7},
        {"frameskip": 0},
        {"max_env_steps": 32},
        {"goal_steps": 0},
        {"oracle_samples": 0},
        {"oracle_iterations": 0},
        {"success": "sometimes"},
    ],
)
def test_bad_fields_are_refused(fields):
    with pytest.raises((UserError, TypeError), match=next(iter(fields))):
        Protocol(name="x", **fields)
