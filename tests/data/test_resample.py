import numpy as np
import pytest

from jepawm.data.poses import pose_differences
from jepawm.data.recording import Recording
from jepawm.data.resample import (
    frame_step,
    require_times,
    square_frame,
    square_frames,
    subsample,
)
from jepawm.errors import UserError


def recording(num_frames: int, num_actions: int, *, pose: bool = False) -> Recording:
    proprio = np.arange(7.0 * num_frames).reshape(num_frames, 7) / 100
    return Recording(
        num_frames=num_frames,
        actions=np.arange(2.0 * num_actions).reshape(num_actions, 2),
        proprio=proprio,
        state=proprio[:, :1],
        frames=lambda: (np.full((4, 6, 3), t, np.uint8) for t in range(num_frames)),
        count_frames=lambda: num_frames,
        pose_actions=pose,
    )


def test_steps_of_rates_that_divide():
    assert frame_step(30.0, None) == 1
    assert frame_step(30.0, 30.0) == 1
    assert frame_step(30.0, 6.0) == 5
    assert frame_step(15.0, 3.75) == 4
    assert frame_step(59.94, 29.97) == 2


@pytest.mark.parametrize("wanted", [4.0, 60.0, 0.0, -1.0])
def test_rates_that_do_not_divide(wanted: float):
    message = r"does not divide the 15 frames per second.*choose among 15, 7\.5, 5, 3\.75, 3"
    with pytest.raises(UserError, match=message):
        frame_step(15.0, wanted)


def test_a_source_without_a_rate():
    with pytest.raises(UserError, match="does not say its frame rate; leave --fps out"):
        frame_step(None, 5.0)


@pytest.mark.parametrize(
    ("num_frames", "num_actions", "kept_frames", "kept_actions"),
    [(7, 6, 3, 2), (7, 7, 3, 2), (6, 6, 2, 2), (6, 5, 2, 1), (8, 8, 3, 2)],
)
def test_every_third_frame(num_frames: int, num_actions: int, kept_frames: int, kept_actions: int):
    thin = subsample(recording(num_frames, num_actions), 3, combine="concat")
    assert thin.num_frames == thin.count_frames() == kept_frames
    assert thin.actions.shape == (kept_actions, 6)
    assert thin.actions[-1].tolist() == list(np.arange(6.0) + 6 * (kept_actions - 1))
    assert [frame[0, 0, 0] for frame in thin.frames()] == list(range(0, num_frames, 3))
    assert thin.proprio is not None
    assert len(thin.proprio) == kept_frames


def test_ways_to_combine():
    assert subsample(recording(7, 6), 3, combine="sum").actions[0].tolist() == [6, 9]
    assert subsample(recording(7, 6), 3, combine="last").actions[0].tolist() == [4, 5]
    with pytest.raises(UserError, match="--combine-actions concat"):
        subsample(recording(7, 6), 3, combine=None)


def test_differences_of_poses_are_taken_anew():
    thin = subsample(recording(7, 6, pose=True), 3, combine=None)
    assert thin.proprio is not None
    assert np.array_equal(thin.actions, pose_differences(thin.proprio))


def test_crop_takes_the_centre_and_stretch_everything():
    frame = np.zeros((4, 8, 3), np.uint8)
    frame[:, 2:6] = 200
    assert (square_frame(frame, 4, fit="crop") == 200).all()
    stretched = square_frame(frame, 4, fit="stretch")
    assert stretched.shape == (3, 4, 4)
    assert stretched.mean() == pytest.approx(100, abs=2)


def test_square_frames_of_the_right_size_stay_as_they_are():
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(square_frame(frame, 8, fit="crop"), frame.transpose(2, 0, 1))


def test_mixed_shapes_are_refused():
    frames = [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)]
    with pytest.raises(UserError, match="several shapes \\(4 x 4, 4 x 6\\)"):
        square_frames(iter(frames), len(frames), size=4, fit="crop")


def test_rates_that_are_none():
    for wanted in (0.0, -3.0, float("nan"), float("inf"), 1e-300):
        with pytest.raises(UserError, match="does not divide"):
            frame_step(30.0, wanted)


def test_frames_are_counted():
    frames = np.zeros((3, 4, 4, 3), np.uint8)
    assert len(square_frames(iter(frames), 5, size=4, fit="crop")) == 3
    with pytest.raises(UserError, match="more than 2 frames"):
        square_frames(iter(frames), 2, size=4, fit="crop")
    with pytest.raises(UserError, match="do not fit into memory"):
        square_frames(iter(frames), 10**9, size=64, fit="crop")


@pytest.mark.parametrize("start", [0.0, 12.3, 1.7e9])
@pytest.mark.parametrize("unit", [1, 1000, 1e9])
def test_times_agree_with_a_rate_wherever_they_start(start: float, unit: float):
    times = (start + np.arange(9) / 10) * unit
    require_times(times, 10.0, said="a", of="b", units=True)
    with pytest.raises(UserError, match=r"a says 30 frames per second, the timestamps of b are"):
        require_times(times, 30.0, said="a", of="b", units=True)


def test_times_are_seconds_unless_said_otherwise_and_one_gap_does_not_matter():
    times = np.arange(9) / 10
    times[5:] += 60
    require_times(times, 10.0, said="a", of="b")
    with pytest.raises(UserError, match="are 10 apart per second"):
        require_times(times, 30.0, said="a", of="b")
    with pytest.raises(UserError, match=r"are 0\.01 apart per second"):
        require_times(1000 * times, 10.0, said="a", of="b")
    for none in (times[:1], np.zeros(9), np.full(9, np.nan)):
        require_times(none, 10.0, said="a", of="b")
