"""Commands and what a model takes: each form by hand, there and back."""

from dataclasses import replace

import pytest
import torch

from jepawm.commands import Commands, commands_from_json
from jepawm.errors import UserError

COMMANDS = Commands(
    forms=("absolute", "relative", "difference"),
    follows=(-1, 1, 0),
    rest=("zero", "repeat", "repeat"),
    mean=(0.0, 0.0, 5.0),
    std=(1.0, 1.0, 2.0),
    low=(-1.0, -2.0, 0.0),
    high=(1.0, 2.0, 9.0),
    step=(0.1, 0.2, 0.3),
)


def test_each_form_by_hand():
    commands = torch.tensor(
        [[[1.0, 5.0, 10.0], [2.0, 6.0, 12.0], [3.0, 7.0, 15.0], [4.0, 9.0, 15.0]]]
    )
    proprio = torch.tensor([[[0.0, 4.0], [0.0, 6.5]]])  # where the two blocks begin
    moves = COMMANDS.to_moves(commands, before=torch.tensor([[9.0, 9.0, 9.0]]), proprio=proprio)
    assert moves.tolist() == [[[1, 1, 1], [2, 2, 2], [3, 0.5, 3], [4, 2.5, 0]]]


def test_a_plan_becomes_commands_again():
    moves = torch.tensor([[[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 0.5, 3.0], [4.0, 2.5, 0.0]]])
    told = COMMANDS.to_commands(
        moves,
        before=torch.tensor([[9.0, 9.0, 9.0]]),
        proprio=torch.tensor([[0.0, 4.0]]),
        frameskip=2,
    )
    # the second block begins where the first one sent the robot: 4 + 2 = 6
    assert told.tolist() == [[[1, 5, 10], [2, 6, 12], [3, 6.5, 15], [4, 8.5, 15]]]


def test_no_move_holds_still():
    zero = torch.zeros(1, 4, 3)
    last, proprio = torch.tensor([[0.5, 3.0, 7.0]]), torch.tensor([[7.5, 3.5]])
    told = COMMANDS.to_commands(zero, before=last, proprio=proprio, frameskip=2)
    assert told[0, :, 1:].tolist() == [[3.5, 7.0]] * 4
    assert COMMANDS.hold(last).tolist() == [[0.0, 3.0, 7.0]]


def test_the_state_shows_where_a_robot_stands():
    proprio = torch.tensor([[7.0, 3.0]])
    assert COMMANDS.start(proprio, otherwise=torch.ones(1, 3)).tolist() == [[1.0, 3.0, 7.0]]
    assert COMMANDS.start(proprio, otherwise=None)[0, 1:].tolist() == [3.0, 7.0]
    assert COMMANDS.start(None, otherwise=torch.ones(1, 3)).tolist() == [[1.0, 1.0, 1.0]]
    blind = replace(COMMANDS, follows=(-1, 1, -1))
    with pytest.raises(UserError, match=r"columns \[2\] of its commands; give the last command"):
        blind.start(proprio, otherwise=None)


def test_json_gives_the_same_commands_back():
    assert commands_from_json(COMMANDS.to_json(), source="config.json") == COMMANDS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forms": ["absolute", "relative", "velocity"]}, "forms"),
        ({"follows": [0, 1]}, "different widths"),
        ({"follows": [-1, -1, -1]}, "follows no proprioception"),
        ({"speed": [1.0]}, "speed"),
    ],
)
def test_other_commands_are_refused(changes: dict, message: str):
    with pytest.raises(UserError, match=message):
        commands_from_json(COMMANDS.to_json() | changes, source="config.json")


def test_forms_in_words():
    assert COMMANDS.in_words() == (
        "1 as recorded, 1 relative to the proprioception, 1 as differences from the last command"
    )
