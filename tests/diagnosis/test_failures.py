import numpy as np
import pytest

from jepawm.diagnosis.failures import summarize_failures, watch_episodes
from jepawm.evaluation.stops import AWAY, SHORT


def test_a_perfect_model_does_not_fail(world, make_agent):
    episodes = watch_episodes(world, world.sample_tasks(0, num_tasks=4), agent=make_agent())
    assert episodes.distances.shape == (4, 7)
    np.testing.assert_allclose(
        episodes.distances[:, -1], np.linalg.norm(world.places - world.goals, axis=1)
    )
    found = summarize_failures([episodes], protocol="tiny", planner="CEM()")
    assert (found.tasks, found.success, found.counts, found.failures) == (4, 1.0, {}, ())


def test_a_model_that_moves_the_wrong_way_ends_at_the_wall(world, make_agent, make_model):
    agent = make_agent(make_model(-2.0))
    tasks = world.sample_tasks(0, num_tasks=5)
    batches = [watch_episodes(world, part, agent=agent) for part in (tasks[:3], tasks[3:])]
    found = summarize_failures(batches, protocol="tiny", planner="CEM()")
    assert (found.tasks, found.success, found.counts) == (5, 0.0, {"beside the wall": 5})
    assert [one.task for one in found.failures] == [0, 1, 2, 3, 4]
    assert found.ci95[0] == 0.0
    last = found.failures[-1]
    assert last.end == pytest.approx(batches[1].distances[1, -1])
    assert last.least == last.start < last.end


def test_counts_begin_with_the_most_frequent(world, make_agent):
    batch = watch_episodes(world, world.sample_tasks(0, num_tasks=3), agent=make_agent())
    far = np.array([[1.0, 2.0, 2.0], [2.0, 1.5, 1.5], [1.0, 3.0, 3.0]])
    failed = type(batch)(
        success=np.zeros(3, bool),
        distances=far,
        solved=np.zeros(3, bool),
        beside={},
    )
    found = summarize_failures([failed], protocol="tiny", planner="CEM()")
    assert list(found.counts.items()) == [(AWAY, 2), (SHORT, 1)]
