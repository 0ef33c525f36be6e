"""What a checkpoint says of its actions comes back; earlier ones say nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from jepawm.commands import Commands
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer
from jepawm.records import ModelRecord, record_from_json, record_to_json

RECORD = ModelRecord(
    experiment={"seed": 4},
    action_dim=2,
    proprio_dim=1,
    normalizer=Normalizer.from_statistics(
        action_mean=[0.1, 0.2], action_std=[1.0, 2.0], proprio_mean=[0.0], proprio_std=[1.0]
    ),
)
COMMANDS = Commands(
    forms=("difference", "absolute"),
    follows=(0, -1),
    rest=("repeat", "zero"),
    **dict.fromkeys(("mean", "std", "low", "high", "step"), (1.0, 2.0)),
)


def test_forms_of_actions_are_kept():
    record = replace(RECORD, normalizer=replace(RECORD.normalizer, commands=COMMANDS))
    again = record_from_json(record_to_json(record), source=Path("config.json"))
    assert isinstance(again, ModelRecord)
    assert again.normalizer.commands == COMMANDS


def test_earlier_checkpoints_take_actions_as_recorded():
    content = record_to_json(RECORD)
    assert "commands" not in content
    again = record_from_json(content, source=Path("config.json"))
    assert isinstance(again, ModelRecord)
    assert again.normalizer.commands is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"follows": [1, -1]}, "other widths of actions or proprioception"),
        ({name: values * 2 for name, values in COMMANDS.to_json().items()}, "other widths"),
        ({"low": ["a", 1.0]}, "commands are not those of this version"),
    ],
)
def test_commands_of_another_robot_are_refused(changes: dict, message: str):
    content = {**record_to_json(RECORD), "commands": COMMANDS.to_json() | changes}
    with pytest.raises(UserError, match=message):
        record_from_json(content, source=Path("config.json"))
