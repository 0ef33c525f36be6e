from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepawm.data.checking import Requirements, constant_columns, examine, told_once
from jepawm.data.recording import Episode, Problem, Recording, Source
from jepawm.errors import UserError

NAN = float("nan")


def recording(num_frames: int = 6, *, shape: tuple[int, int] = (4, 4), width: int = 2) -> Recording:
    return Recording(
        num_frames=num_frames,
        actions=np.ones((num_frames, width)),
        proprio=np.ones((num_frames, 3)),
        frames=lambda: iter(np.zeros((num_frames, *shape, 3), np.uint8)),
        count_frames=lambda: num_frames,
    )


@pytest.fixture
def make_source() -> Callable[..., Source]:
    def make(*recordings: Recording | UserError) -> Source:
        def read(one: Recording | UserError) -> Recording:
            if isinstance(one, UserError):
                raise one
            return one

        return Source(
            format="toy",
            path=Path("toy"),
            environment="toy",
            fps=10.0,
            cameras=["front"],
            camera="front",
            episodes=[
                Episode(
                    name=f"episode {index}", file=Path("toy/a.h5"), read=lambda one=one: read(one)
                )
                for index, one in enumerate(recordings)
            ],
            files=[],
        )

    return make


def texts(source: Source, requirements: Requirements | None = None) -> list[list[str]]:
    found = examine(source, requirements or Requirements())
    return [[problem.message for problem in one.problems] for one in found]


def test_good_episodes_have_no_problems(make_source):
    assert texts(make_source(recording(), recording(9))) == [[], []]


def test_all_problems_of_an_episode_at_once(make_source):
    actions = np.ones((6, 2))
    actions[4, 1] = NAN
    bad = replace(recording(), actions=actions, count_frames=lambda: 5, proprio=np.ones((4, 3)))
    (found,) = texts(make_source(bad), Requirements(min_frames=20))
    assert len(found) == 4
    assert "actions is NaN or infinite at step 4, column 1 (1 numbers in all)" in found[0]
    assert "4 rows of proprio for 6 frames" in found[1]
    assert "6 frames are fewer than the 20 of a window" in found[2]
    assert "the episode has 5 frames, fewer than the 6 of its table" in found[3]


def test_an_episode_that_cannot_be_read_does_not_hide_the_others(make_source):
    found = texts(make_source(UserError("a.h5 is damaged"), recording(), UserError("gone")))
    assert found == [["a.h5 is damaged"], [], ["gone"]]


def test_shapes_are_those_of_the_first_good_episode(make_source):
    source = make_source(
        UserError("x"),
        recording(),
        recording(shape=(4, 8)),
        recording(width=3),
        replace(recording(), proprio=None),
    )
    _, good, frames, actions, proprio = texts(source)
    assert good == []
    assert "frames have shape (4, 8), those of episode 1 have (4, 4)" in frames[0]
    assert "actions have shape 3, those of episode 1 have 2" in actions[0]
    assert "proprio have shape None, those of episode 1 have 3" in proprio[0]


def test_wrong_number_of_actions(make_source):
    (found,) = texts(make_source(replace(recording(), actions=np.ones((4, 2)))))
    assert "4 actions for 6 frames; there must be as many, or one less" in found[0]


def test_length_is_measured_after_frames_are_left_out(make_source):
    requirements = Requirements(fps=5.0, combine_actions="sum", min_frames=4)
    (short, long) = texts(make_source(recording(6), recording(7)), requirements)
    assert "3 frames are fewer than the 4" in short[0]
    assert long == []


def test_constant_columns_are_notes():
    notes = constant_columns(Path("toy"), {"actions": [0.0, 1.0, 0.0], "proprio": None})
    assert [note.fatal for note in notes] == [False]
    assert "actions: 2 of 3 columns are constant (standard deviation 0): [0, 2]" in notes[0].message


def test_problems_name_file_and_episode(make_source):
    (one,) = examine(make_source(UserError("it is damaged")), Requirements())
    assert one.problems[0].to_text() == "toy/a.h5, episode 0: it is damaged"
    (two,) = examine(make_source(UserError("toy/a.h5 is damaged")), Requirements())
    assert two.problems[0].to_text() == "episode 0: toy/a.h5 is damaged"


def test_a_source_without_episodes(make_source):
    with pytest.raises(UserError, match="holds no episodes"):
        list(examine(make_source(), Requirements()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": np.full((6, 2), 1e39)}, "actions is beyond 1e"),
        ({"proprio": np.full((6, 3), -1e38)}, "proprio is beyond 1e"),
        ({"actions": np.ones((6, 2), complex)}, "actions is complex128"),
        ({"actions": np.ones((6, 0))}, "actions has no columns; choose another, or leave the ep"),
        ({"state": np.ones((6, 0))}, "state has no columns"),
        ({"actions": np.array([["a"] * 2] * 6)}, "actions is <U1"),
        ({"task": "\udc80"}, "the task '\\udc80' is no text"),
        ({"fps": 0.0}, "0 frames per second is no rate"),
        ({"fps": NAN}, "nan frames per second is no rate"),
        ({"fps": -10.0}, "-10 frames per second is no rate"),
        ({"frames": lambda: iter([np.zeros((4, 0, 3), np.uint8)])}, "a frame is uint8 (4, 0, 3)"),
        ({"frames": lambda: iter([np.zeros((4, 4, 3))])}, "a frame is float64 (4, 4, 3)"),
        ({"frames": lambda: iter([np.zeros((1, 40_000, 3), np.uint8)])}, "too many"),
        ({"frames": lambda: 1 / 0}, "toy/a.h5 is damaged or no recording of frames"),
        ({"count_frames": lambda: len(None)}, "toy/a.h5 is damaged or no recording of frames"),  # pyright: ignore[reportArgumentType] (it is the fault)
    ],
)
def test_what_no_store_can_hold_is_a_problem(make_source, changes: dict, message: str):
    bad = replace(recording(), **changes)
    good, *found = texts(make_source(recording(), bad, recording()))
    assert good == []
    assert any(message in text for text in found[0]), found
    assert found[1] == []


def test_states_may_be_large(make_source):
    large = replace(recording(), state=np.full((6, 1), 1e300))
    assert texts(make_source(large)) == [[]]


def test_whole_numbers_are_numbers(make_source):
    whole = replace(
        recording(), actions=np.ones((6, 2), np.int64), proprio=np.ones((6, 3), np.uint8)
    )
    (examined,) = examine(make_source(whole), Requirements())
    assert examined.problems == ()
    assert examined.recording is not None
    assert examined.recording.actions.dtype == np.float64


@pytest.mark.parametrize("error", [ValueError("x"), KeyError(), RecursionError(), MemoryError()])
def test_what_a_library_raises_is_a_problem_of_the_episode(make_source, error: Exception):
    source = make_source(recording(), recording())

    def fail() -> Recording:
        raise error

    episode = replace(source.episodes[0], read=fail)
    found = texts(replace(source, episodes=[episode, source.episodes[1]]))
    assert "toy/a.h5 is damaged or no episode of toy" in found[0][0]
    assert found[1] == []


@pytest.mark.parametrize("kind", [np.int64, np.uint8, bool])
def test_discrete_actions_are_one_rule_for_all_formats(make_source, kind: type):
    choices = np.array([[0], [1], [1], [0], [1], [0]]).astype(kind)
    source = make_source(replace(recording(), actions=choices))
    (refused,) = texts(source)
    assert "whole numbers from 0 to 1 in one column, choices it seems" in refused[0]
    assert "--discrete-actions 2 " in refused[0]
    (found,) = examine(source, Requirements(discrete_actions=3))
    assert found.problems == ()
    assert found.recording is not None
    assert np.array_equal(found.recording.actions, np.eye(3)[choices[:, 0].astype(int)])
    (few,) = texts(source, Requirements(discrete_actions=1))
    assert "--discrete-actions 1: the actions are 0 to 1" in few[0]


@pytest.mark.parametrize(
    "actions", [np.ones((6, 2), np.int64), np.full((6, 1), -3), np.full((6, 1), 4095)]
)
def test_whole_numbers_that_are_amounts_stay(make_source, actions: np.ndarray):
    (found,) = examine(make_source(replace(recording(), actions=actions)), Requirements())
    assert found.recording is not None
    assert np.array_equal(found.recording.actions, actions)
    (refused,) = texts(
        make_source(replace(recording(), actions=actions)), Requirements(discrete_actions=5)
    )
    assert "not one whole number from 0 to 4 in each row" in refused[0]


def test_what_episodes_share_is_told_once():
    def problem(name: str, message: str, *, fatal: bool = True) -> Problem:
        return Problem(file=f"{name}.h5", episode=name, message=message, fatal=fatal)

    told = told_once(
        [
            problem("a", "has 3 frames, 4 rows"),
            problem("b", "b.h5 is a Git LFS pointer"),
            problem("c", "c.mp4 is a Git LFS pointer"),
            problem("d", "has 5 frames, 7 rows"),
            problem("e", "has 5 frames, 7 rows", fatal=False),
            problem("f", "has 8 frames, 9 rows"),
            problem("f", "has 9 frames, 9 rows"),
        ]
    )
    assert [one.message for one in told] == [
        "has 3 frames, 4 rows (likewise 2 more: d, f)",
        "b.h5 is a Git LFS pointer (likewise 1 more: c)",
        "has 5 frames, 7 rows",
    ]


def test_notes_are_those_of_good_episodes(make_source):
    noted = replace(recording(), notes=("one frame less",))
    bad = replace(noted, actions=np.full((6, 2), NAN))
    found = list(examine(make_source(noted, bad), Requirements()))
    assert [[note.to_text() for note in one.notes] for one in found] == [
        ["toy/a.h5, episode 0: one frame less"],
        [],
    ]
