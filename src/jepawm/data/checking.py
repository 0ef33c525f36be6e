"""Find what is wrong with a source, episode by episode, before anything is written."""

import math
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jepawm.border import foreign
from jepawm.data.recording import Episode, Problem, Recording, Source
from jepawm.data.resample import Combine, frame_step, is_rate, require_frame, subsample
from jepawm.errors import UserError, show
from jepawm.foreign_files import POINTER

_LARGEST = 1e37
"""Numbers of actions and proprioception are smaller, so that float32 holds their statistics too."""
_MOST_CHOICES = 1000
"""Whole numbers beyond are amounts."""
_NUMBERS = ("actions", "proprio", "state")
"""Columns of numbers; all else that has a shape is a camera."""
_MOST_NAMES = 100
"""Names of episodes in one message."""


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What episodes have to satisfy."""

    fps: float | None = None
    """Frames per second to keep; all if not given. Must divide those of the source."""
    combine_actions: Combine | None = None
    """How actions between two kept frames become one, where frames are left out."""
    min_frames: int = 2
    """Shortest episode, in frames that are kept: T x frameskip + 1 for training windows."""
    discrete_actions: int | None = None
    """Choices of a discrete action, whole numbers from 0: each becomes a vector with a single 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Examined:
    """One episode of a source after all checks that need no whole decoding."""

    episode: Episode
    """The episode."""
    recording: Recording | None
    """What was read, at the frame rate that is kept; None if it cannot be read."""
    problems: tuple[Problem, ...]
    """All that is wrong with it; empty if it is good."""

    @property
    def notes(self) -> list[Problem]:
        """List what is worth knowing of a good episode."""
        if self.recording is None or self.problems:
            return []
        texts = self.recording.notes
        return [replace(problem_of(self.episode, text), fatal=False) for text in texts]


def examine(
    source: Source, requirements: Requirements, *, rejected: Container[str] = ()
) -> Iterator[Examined]:
    """Read and check every episode; only its first frame is decoded.

    Episodes must have the shapes of the first good one; one whose name is in `rejected`, where the
    caller puts those whose later frames are bad, is none.
    """
    step = frame_step(source.fps, requirements.fps)
    if not source.episodes:
        raise UserError(f"{source.path} holds no episodes; check the path")
    first: tuple[str, dict[str, object]] | None = None
    for episode in source.episodes:
        try:
            with foreign(episode.file, f"episode of {source.format}"):
                recording = _with_rows(episode.read(), requirements.discrete_actions)
                recording = subsample(recording, step, combine=requirements.combine_actions)
        except UserError as error:
            yield Examined(
                episode=episode, recording=None, problems=(problem_of(episode, str(error)),)
            )
            continue
        found = [
            *_number_problems(recording),
            *_length_problems(recording, requirements.min_frames),
            *_rate_problems(recording.fps, source.fps),
        ]
        shapes, damage = _shapes(recording, episode)
        found += damage
        if first is not None and first[0] in rejected:
            first = None
        if first is None and not found:
            first = (episode.name, shapes)
        if first is not None:
            found += _shape_problems(shapes, first[1], name=first[0])
        problems = tuple(problem_of(episode, text) for text in found)
        yield Examined(episode=episode, recording=recording, problems=problems)


def source_notes(source: Source, stds: Mapping[str, Sequence[float] | None]) -> list[Problem]:
    """Note what concerns all episodes: how they were read, and columns that never change.

    Args:
        source: the source.
        stds: the standard deviations of all columns by name.
    """
    where = str(source.path)
    notes = [
        Problem(file=where, episode="all episodes", message=text, fatal=False)
        for text in source.notes
    ]
    return notes + constant_columns(source.path, stds)


def constant_columns(path: Path, stds: Mapping[str, Sequence[float] | None]) -> list[Problem]:
    """Note the columns that never change, given all standard deviations by name."""
    notes = []
    for name, std in stds.items():
        constant = [column for column, value in enumerate(std or ()) if value == 0]
        if std is not None and constant:
            text = (
                f"{name}: {len(constant)} of {len(std)} columns are constant (standard deviation "
                f"0): {constant}; they are normalised to 0 and carry no information"
            )
            notes.append(Problem(file=str(path), episode="all episodes", message=text, fatal=False))
    return notes


def told_once(problems: Sequence[Problem]) -> list[Problem]:
    """Join problems that several episodes have alike, up to numbers: the first, and who else."""
    alike: dict[object, list[Problem]] = {}
    for problem in problems:
        text = "" if POINTER in problem.message else re.sub(r"\d+", "#", problem.message)
        alike.setdefault((problem.fatal, text or POINTER), []).append(problem)
    return [_joined(same) for same in alike.values()]


def _joined(same: Sequence[Problem]) -> Problem:
    first = same[0]
    names = [name for name in dict.fromkeys(one.episode for one in same) if name != first.episode]
    if not names:
        return first
    more = ", ".join(names[:_MOST_NAMES]) + ", ..." * (len(names) > _MOST_NAMES)
    return replace(first, message=f"{first.message} (likewise {len(names)} more: {more})")


def problem_of(episode: Episode, message: str) -> Problem:
    """Say what is wrong with an episode."""
    return Problem(file=str(episode.file), episode=episode.name, message=message)


def _columns(recording: Recording) -> dict[str, np.ndarray]:
    columns = {
        "actions": recording.actions,
        "proprio": recording.proprio,
        "state": recording.state,
    }
    return {name: rows for name, rows in columns.items() if rows is not None}


def _with_rows(recording: Recording, choices: int | None) -> Recording:
    """Check that a recording is rows of real numbers and a text; returns it, whole numbers as floats."""
    recording = replace(recording, actions=_vectors(recording.actions, choices))
    columns = _columns(recording)
    for name, rows in columns.items():
        if rows.ndim != 2 or rows.dtype.kind not in "iuf":
            raise UserError(
                f"{name} is {rows.dtype} {rows.shape}; expected rows of real numbers: repair the "
                "recording, or leave the episode out"
            )
        if rows.shape[1] == 0:
            raise UserError(
                f"{name} has no columns; choose another, or leave "
                + ("the episode out" if name == "actions" else "it out")
            )
    try:
        recording.task.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"the task {show(recording.task)} is no text ({error.reason}); repair the recording"
        ) from error
    floats = {
        name: rows.astype(np.float64) for name, rows in columns.items() if rows.dtype.kind != "f"
    }
    return replace(recording, **floats) if floats else recording


def _vectors(actions: np.ndarray, choices: int | None) -> np.ndarray:
    """Return actions as they are, discrete ones as vectors with a single 1."""
    is_whole = actions.ndim == 2 and actions.shape[1] == 1 and actions.dtype.kind in "iub"
    low, high = (int(actions.min()), int(actions.max())) if is_whole and actions.size else (-1, -1)
    is_discrete = 0 <= low <= high < _MOST_CHOICES
    if choices is None and not is_discrete:
        return actions
    if choices is None:
        raise UserError(
            f"actions are whole numbers from {low} to {high} in one column, choices it seems: say "
            f"how many there are by --discrete-actions {high + 1} (each becomes a vector with a "
            "single 1, as in gym: environments), or save them as real numbers if they are amounts"
        )
    if not is_discrete or not high < choices <= _MOST_CHOICES:
        found = f"{low} to {high}" if is_discrete else f"{actions.dtype} {actions.shape}"
        raise UserError(
            f"--discrete-actions {choices}: the actions are {found}, not one whole number from 0 to "
            f"{choices - 1} in each row; give the number of choices, up to {_MOST_CHOICES}"
        )
    return np.eye(choices)[actions[:, 0].astype(int)]


def _number_problems(recording: Recording) -> Iterator[str]:
    num_frames = recording.num_frames
    if len(recording.actions) not in (num_frames - 1, num_frames):
        yield (
            f"{len(recording.actions)} actions for {num_frames} frames; there must be as many, or "
            "one less: fix the table, or leave the episode out"
        )
    for name, rows in _columns(recording).items():
        if name != "actions" and len(rows) != num_frames:
            yield f"{len(rows)} rows of {name} for {num_frames} frames; fix the table"
        bad, what = ~np.isfinite(rows), "NaN or infinite"
        if name != "state" and not bad.any():
            bad, what = np.abs(rows) > _LARGEST, f"beyond {_LARGEST:g}"
        if bad.any():
            step, column = np.argwhere(bad)[0].tolist()
            yield (
                f"{name} is {what} at step {step}, column {column} ({int(bad.sum())} "
                "numbers in all); repair the recording, or leave the episode out"
            )


def _length_problems(recording: Recording, min_frames: int) -> Iterator[str]:
    if recording.num_frames < max(2, min_frames):
        yield (
            f"{recording.num_frames} frames are fewer than the {max(2, min_frames)} of a window; "
            "use shorter windows (--min-frames), or leave the episode out"
        )


def _rate_problems(fps: float | None, expected: float | None) -> Iterator[str]:
    if fps is not None and not is_rate(fps):
        yield f"{fps:g} frames per second is no rate; repair the recording, or leave the episode out"
    elif fps is not None and expected is not None and not math.isclose(fps, expected, rel_tol=0.01):
        yield (
            f"{fps:g} frames per second, others have {expected:g}; import episodes of different "
            "rates into stores of their own, or leave the episode out"
        )


def _shapes(recording: Recording, episode: Episode) -> tuple[dict[str, object], list[str]]:
    shapes: dict[str, object] = {name: rows.shape[1] for name, rows in _columns(recording).items()}
    problems: list[str] = []
    for name, one in (("frames", recording), *recording.others.items()):
        shape, found = _frame_shape(one, episode)
        shapes |= {} if shape is None else {name: shape}
        problems += found
    return shapes, problems


def _frame_shape(
    recording: Recording, episode: Episode
) -> tuple[tuple[int, ...] | None, list[str]]:
    """Return height and width of the frames of a camera, None if not known, and what is wrong."""
    video = f"the video {recording.video}" if recording.video else "the episode"
    try:
        with foreign(recording.video or episode.file, "recording of frames"):
            count = recording.count_frames()
            frame = next(recording.frames(), None) if count == recording.num_frames else None
            if frame is not None:
                require_frame(frame)
    except UserError as error:
        return None, [str(error)]
    if count != recording.num_frames:
        word = "fewer" if count < recording.num_frames else "more"
        return None, [
            f"{video} has {count} frames, {word} than the {recording.num_frames} of its table; "
            "it is truncated or not the right one: copy it again, or leave the episode out"
        ]
    return None if frame is None else frame.shape[:2], []


def _shape_problems(
    shapes: dict[str, object], expected: dict[str, object], *, name: str
) -> Iterator[str]:
    for key in sorted(shapes.keys() | expected.keys()):
        if key not in shapes and key not in _NUMBERS:
            continue  # they cannot be decoded, which is a problem of its own
        if shapes.get(key) != expected.get(key):
            yield (
                f"{key} have shape {shapes.get(key)}, those of {name} have {expected.get(key)}; "
                "import episodes of different shapes into stores of their own"
            )
