"""What a recording did reaches neither a proposer nor a plan: a marked action never comes out."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.agent import AgentConfig, PlanningAgent
from jepawm.data.episodes import open_store
from jepawm.data.windows import Windows
from jepawm.data.writer import EpisodeWriter
from jepawm.evaluation.episodes import run_episodes
from jepawm.evaluation.offline_plans import plan_clips
from jepawm.normalizer import Normalizer
from jepawm.planning.best_of import BestOf
from jepawm.planning.objectives import LatentDistance
from jepawm.protocol import Protocol
from jepawm.types import Context, Latent

MARK = 7.0


@dataclass
class Thief:
    """Proposes the mark if it finds it in anything that it is given, else zeros."""

    horizon: int = 8
    seen: list[torch.Tensor] = field(default_factory=list)

    def propose(self, context: Context, goal: Latent, *, horizon: int, num_plans: int):
        size, width = context.actions.shape[0], context.actions.shape[-1]
        given = [context.actions, context.latents.tokens, goal.tokens]
        self.seen.append(context.actions)
        found = any(bool((one == MARK).any()) for one in given)
        return torch.full((size, num_plans, horizon, width), MARK if found else 0.0)


class Still:
    """A model whose latents are the places that it sees."""

    window = 3

    def encode(self, obs):
        return Latent(tokens=obs.proprio[..., None, :])

    def predict(self, latents, actions):
        return latents

    def rollout(self, context, actions, *, window=None):
        last = context.latents.tokens[:, -1:]
        return Latent(tokens=last.expand(-1, actions.shape[1], -1, -1))


def agent_of(thief: Thief, normalizer, *, horizon: int, window: int, steps: int = 1):
    return PlanningAgent(
        Still(),
        objective=LatentDistance(),
        planner=BestOf(num_proposals=1, verify=False),
        normalizer=normalizer,
        protocol=Protocol(
            name="clip",
            frameskip=1,
            horizon=horizon,
            num_action_steps=steps,
            max_env_steps=6,
        ),
        config=AgentConfig(window=window),
        proposer=thief,
    )


@pytest.mark.parametrize("window", [1, 3])
def test_plans_on_recordings(tmp_path: Path, window: int):
    with EpisodeWriter(tmp_path / "s", environment="x", image_size=4, settings={}) as writer:
        for _ in range(3):
            actions = np.full((20, 2), MARK, np.float32)
            places = np.random.default_rng(0).normal(size=(21, 2)).astype(np.float32)
            writer.append(np.zeros((21, 3, 4, 4), np.uint8), actions, proprio=places)
    store = open_store(tmp_path / "s")
    identity = store.normalizer().identity()
    clips = Windows(store, episodes=range(3), num_steps=5, frameskip=1, normalizer=identity)
    assert bool((clips.batch(torch.tensor([0])).actions == MARK).all())
    thief = Thief()
    agent = agent_of(thief, identity, horizon=4, window=window)
    generator = torch.Generator().manual_seed(0)
    plans = plan_clips(agent, clips, num_clips=12, normalizer=identity, generator=generator)
    assert thief.seen
    assert bool((plans.recorded == MARK).all())  # they are there, to be compared with
    assert not bool((plans.rows["model"] == MARK).any())


def test_episodes_hold_what_the_agent_did_itself(env):
    thief = Thief()
    normalizer = Normalizer.from_statistics(action_mean=[0.05, -0.05], action_std=[0.3, 0.4])
    agent = agent_of(thief, normalizer, horizon=2, window=3)
    tasks = env.sample_tasks(0, num_tasks=2)
    run_episodes(env, tasks, agent=agent, protocol=agent.protocol)
    assert [one.shape[1] for one in thief.seen] == [0, 1, 2, 2, 2, 2]
    assert all(bool((one == 0.0).all()) for one in thief.seen)  # its own, normalised
