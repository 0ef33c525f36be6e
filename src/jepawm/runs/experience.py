"""Where a diagnosis gets its experience from: an environment in which somebody acts, or recordings."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepawm.collection import new_policy
from jepawm.contracts import CollectionPolicy, Env
from jepawm.data.episodes import EpisodeStore
from jepawm.data.windows import Windows
from jepawm.diagnosis.experience import RANDOM, Stretch, act_out, draw_script, replay
from jepawm.diagnosis.predictions import PredictionRules
from jepawm.envs import POLICIES
from jepawm.experiment import DataConfig, Experiment
from jepawm.hub.load import LoadedModel
from jepawm.protocol import Split, task_seed
from jepawm.runs.offline import find_recordings

_STREAM = 7
"""Makes the random numbers of experience others than those of tasks with the same seed."""


@dataclass(frozen=True, kw_only=True)
class Acting:
    """An environment in which a policy acts."""

    env: Env
    """The environment."""
    policy: CollectionPolicy | None
    """Who acts; None: random actions."""
    split: Split
    """What a policy that replays recordings holds out for it is replayed."""
    seed: int
    """Seed of starts and actions."""
    data_root: Path
    """Folder of recordings that the policy may replay."""

    @property
    def behaviour(self) -> str:
        """Return who acts, for the record."""
        return RANDOM if self.policy is None else repr(self.policy)

    def stretches(self, loaded: LoadedModel, rules: PredictionRules) -> Iterator[Stretch]:
        """Yield stretches, encoded by a model; the same frames for every model of this environment.

        They begin anywhere up to a third of their length into an episode: how episodes start is
        special in many environments.
        """
        frameskip, lead = loaded.experiment.data.frameskip, rules.length // 3
        generator = np.random.default_rng([_STREAM, task_seed(self.seed, self.split)])
        script = draw_script(
            self.env,
            self.policy,
            normalizer=loaded.normalizer,
            split=self.split,
            generator=generator,
            num_episodes=rules.num_stretches,
            num_steps=(lead + rules.length) * frameskip,
            data_root=self.data_root,
        )
        return act_out(
            self.env,
            script,
            model=loaded.model,
            normalizer=loaded.normalizer,
            frameskip=frameskip,
            num_steps=rules.length,
            starts=generator.integers(lead + 1, size=rules.num_stretches).tolist(),
        )


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Episodes of recordings."""

    store: EpisodeStore
    """Where they are."""
    episodes: np.ndarray
    """Which of them count."""

    @property
    def behaviour(self) -> str:
        """Return what was recorded, for the record."""
        return f"recordings of {self.store.manifest.environment}"

    def stretches(self, loaded: LoadedModel, rules: PredictionRules) -> Iterator[Stretch]:
        """Yield evenly spaced stretches, encoded by a model."""
        return replay(
            self.windows(loaded, num_steps=rules.length),
            num_stretches=rules.num_stretches,
            model=loaded.model,
            device=loaded.normalizer.action_mean.device,
        )

    def windows(self, loaded: LoadedModel, *, num_steps: int, normalize: bool = True) -> Windows:
        """Return all stretches of `num_steps` action blocks, normalised or in environment units."""
        normalizer = loaded.normalizer.to("cpu")
        return Windows(
            self.store,
            episodes=self.episodes,
            num_steps=num_steps,
            frameskip=loaded.experiment.data.frameskip,
            normalizer=normalizer if normalize else normalizer.identity(),
        )

    def longest(self, frameskip: int) -> int:
        """Return the action blocks of the longest episode."""
        return (int(self.store.lengths[self.episodes].max()) - 1) // frameskip


Experience = Acting | Recorded
"""Where experience comes from."""


def acting(loaded: LoadedModel, env: Env, *, split: Split, seed: int, data_root: Path) -> Acting:
    """Return who acts in an environment: as when the training data were collected, if they were.

    A model that learned from imported data is shown the environment's own policy, if it has one.
    """
    experiment = loaded.experiment
    policy: CollectionPolicy | None = experiment.data.policy
    default = policy == DataConfig().policy and experiment.env != Experiment().env
    if experiment.data.store is not None or default:
        policy = new_policy(experiment.env) if experiment.env in POLICIES.names() else None
    return Acting(env=env, policy=policy, split=split, seed=seed, data_root=data_root)


def recorded(loaded: LoadedModel, *, data: Path | None, split: Split, data_root: Path) -> Recorded:
    """Return recordings: those of the training that a split holds out, or all of others."""
    store, episodes = find_recordings(loaded, data=data, split=split, data_root=data_root)
    return Recorded(store=store, episodes=episodes)
