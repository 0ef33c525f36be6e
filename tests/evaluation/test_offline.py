"""Known answers: a model that is right, a model that copies, an agent that does what was done."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.agent import AgentConfig, PlanningAgent
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.windows import Windows
from jepawm.data.writer import EpisodeWriter
from jepawm.evaluation.offline import (
    action_distances,
    action_errors,
    action_score,
    prediction_errors,
)
from jepawm.evaluation.offline_plans import plan_clips
from jepawm.planning.gradient import GradientDescent
from jepawm.planning.objectives import LatentDistance
from jepawm.protocol import Protocol
from jepawm.types import Context, Latent, Observation, concatenate


@dataclass
class Adder:
    """Dynamics `x' = x + gain * a` on proprioception of width 2; `a` has a third, idle column."""

    gain: float = 1.0
    window: int = 1

    def encode(self, obs: Observation) -> Latent:
        return Latent(tokens=obs.proprio[..., None, :])

    def predict(self, latents: Latent, actions) -> Latent:
        return Latent(tokens=latents.tokens + self.gain * actions[:, :, None, :2])

    def rollout(self, context: Context, actions, *, window=None) -> Latent:
        latents, latent = [], context.latents[:, -1:]
        for action in actions.unbind(1):
            latent = self.predict(latent, action[:, None])
            latents.append(latent)
        return concatenate(latents, dim=1)


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    generator = np.random.default_rng(0)
    with EpisodeWriter(tmp_path / "s", environment="adder", image_size=4, settings={}) as writer:
        for _ in range(3):
            actions = generator.normal(size=(30, 3)).astype(np.float32)
            actions[:, 2] = 7.0
            places = np.concatenate([np.zeros((1, 2)), actions[:, :2].cumsum(0)])
            pixels = np.zeros((31, 3, 4, 4), np.uint8)
            writer.append(pixels, actions, proprio=places.astype(np.float32))
    return open_store(tmp_path / "s")


def windows_of(store: EpisodeStore, num_steps: int) -> Windows:
    return Windows(
        store,
        episodes=range(3),
        num_steps=num_steps,
        frameskip=1,
        normalizer=store.normalizer().identity(),
    )


def test_a_right_model_and_one_that_copies(store: EpisodeStore):
    windows, device = windows_of(store, 4), torch.device("cpu")
    right = prediction_errors(Adder(), windows, num_windows=50, device=device)["tokens"]
    copying = prediction_errors(Adder(gain=0.0), windows, num_windows=50, device=device)["tokens"]
    assert [step.k for step in right] == [1, 2, 3, 4]
    assert [step.model for step in right] == pytest.approx([0.0] * 4, abs=1e-10)
    assert [step.copy for step in right] == [step.copy for step in copying]
    assert [step.ratio for step in copying] == pytest.approx([1.0] * 4)
    assert [step.model_minus_copy.difference for step in copying] == pytest.approx([0.0] * 4)
    assert right[3].copy == pytest.approx(4 * right[0].copy, rel=0.5)  # a random walk


def test_planned_actions_and_baselines(store: EpisodeStore):
    normalizer = store.normalizer()
    agent = PlanningAgent(
        Adder(),
        objective=LatentDistance(),
        planner=GradientDescent(num_starts=1, num_iterations=200),
        normalizer=normalizer.identity(),
        protocol=Protocol(name="clip", frameskip=1, horizon=1, num_action_steps=1),
        config=AgentConfig(window=1),
    )
    clips = windows_of(store, 2)
    plans = plan_clips(
        agent,
        clips,
        num_clips=60,
        normalizer=normalizer.identity(),
        generator=torch.Generator().manual_seed(0),
    )
    rows = action_distances(plans, np.array([True, True, False]))
    assert rows["model"].l1 < 0.01  # one step: only the recorded action leads there
    recorded = plans.recorded[..., :2]
    assert rows["zero"].l1 == pytest.approx(recorded.abs().mean().item(), rel=1e-5)
    assert rows["zero"] == rows["mean"]  # the normaliser changes nothing
    assert rows["random"].l2 > rows["zero"].l2
    assert rows["random"].model_minus_l1.ci95[1] < 0
    first = clips.batch(torch.tensor([0])).actions[0]
    assert torch.equal(plans.rows["previous"][0, 0], first[0])
    assert torch.equal(plans.recorded[0, 0], first[1])
    assert plans.seconds_per_plan > 0


def test_sums_over_time_are_compared_part_by_part():
    recorded = np.zeros((1, 2, 7))
    planned = np.array([[[0.1, 0, 0, 0.2, 0, 0, 0.5], [-0.2, 0.3, 0, 0, -0.1, 0, -0.75]]])
    errors = action_errors(planned, recorded)
    assert errors.xyz == pytest.approx([0.4])
    assert errors.orientation == pytest.approx([0.3])
    assert errors.closure == pytest.approx([0.25])
    assert errors.total == pytest.approx([0.95])


def test_the_order_of_actions_does_not_count():
    actions = np.random.default_rng(0).normal(size=(4, 3, 7))
    assert action_errors(actions, actions[:, ::-1]).total == pytest.approx(np.zeros(4), abs=1e-12)


@pytest.mark.parametrize(("xyz", "score"), [(0.0, 80.0), (0.05, 40.0), (0.1, 0.0), (3.0, 0.0)])
def test_score(xyz: float, score: float):
    assert action_score(xyz) == pytest.approx(score)
