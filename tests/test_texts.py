"""Goals in words and their settings: what says nothing is refused."""

import pytest

from jepawm.errors import UserError
from jepawm.texts import Text, TextConfig, TextHeadConfig


def test_one_text_or_one_for_each_task():
    assert Text("the door").texts == ("the door",)
    assert Text(["the door", "the left room"]).texts == ("the door", "the left room")


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ("", "text 0 is empty"),
        (["a", " \n"], "text 1 is empty"),
        ([], "no text"),
    ],
)
def test_what_says_nothing_is_refused(given, match):
    with pytest.raises(UserError, match=match):
        Text(given)


def test_settings_out_of_range_are_refused():
    with pytest.raises(UserError, match=r"head\.width = 0"):
        TextHeadConfig(width=0)
    with pytest.raises(UserError, match="predicted_weight = 2"):
        TextConfig(predicted_weight=2.0)
