"""`jepawm collect-plans`: episodes of what a model's plans really lead to, to learn from as well.

A planner goes where the model promises most, and so to where it errs; the data of a policy hardly
show these places. Training on goes on from them (Terver et al., arXiv 2512.09929: the gap between
training and planning).
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int64

from jepawm.agent import PlanningAgent
from jepawm.collection import collect_script
from jepawm.contracts import Env, Planner
from jepawm.data.episodes import EpisodeStore
from jepawm.engine.process import tune_process
from jepawm.envs import ENVIRONMENTS, RECORDINGS
from jepawm.envs.persistence import persistent
from jepawm.errors import UserError, require_range
from jepawm.files import alone, require_free
from jepawm.hub.load import LoadedModel, load
from jepawm.hub.proposers import fingerprint
from jepawm.protocol import Protocol
from jepawm.runs.datasets import CollectedStore
from jepawm.types import Observation

_PLANS_AT_A_TIME = 256
_STEADIEST = 0.9
"""Highest correlation of the noise of neighbouring steps; each plan draws its own below this."""


@dataclass(frozen=True, kw_only=True)
class PlanRules:
    """Which plans are executed."""

    num_episodes: int = 4000
    """Plans, and so episodes."""
    nearer: float = 0.3
    """Part of the plans whose goal is reached sooner than the plan ends."""
    noisy: float = 0.5
    """Part of the plans to which noise is added, so that what lies beside them is seen too."""
    noise: float = 0.3
    """Largest standard deviation of that noise, in units of normalised actions; each plan draws its own."""
    seed: int = 1
    """Seed of starts, goals, noise and planner; another than that of the run's own data."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        require_range(self, ("num_episodes",), where="", least=1)
        require_range(self, ("nearer", "noisy"), where="", least=0, most=1)
        require_range(self, ("noise", "seed"), where="", least=0)


def collect_plans(
    source: str,
    *,
    out: Path,
    planner: Planner,
    rules: PlanRules,
    data_root: Path,
    processes: int | None = None,
) -> CollectedStore:
    """Plan towards goals of the run's own policy, execute the plans, store the episodes.

    Starts and goals are those of new episodes of the policy that the run's data were collected by,
    which are stored in `<out>.goals` meanwhile. What was killed goes on where it stopped.

    Args:
        source: run folder or bundled checkpoint.
        out: folder of the store to create.
        planner: what plans.
        rules: how many, how noisy.
        data_root: folder of recordings that the policy may replay.
        processes: processes that simulate and draw; None means as many as PyTorch has threads.
    """
    tune_process()
    require_free(out)
    loaded = load(source)
    experiment = loaded.experiment
    if experiment.env == RECORDINGS:
        raise UserError(f"{source} learned from recordings: there is nothing to execute plans in")
    if rules.seed == experiment.data.seed:
        raise UserError(
            f"--seed {rules.seed} is that of the run's own data; give another one for new starts"
        )
    protocol = experiment.protocols[0]
    script = experiment.data.policy.script(
        np.random.default_rng(rules.seed),
        num_episodes=rules.num_episodes,
        num_steps=protocol.horizon * protocol.frameskip,
        data_root=data_root,
    )
    name, size = experiment.env, experiment.data.image_size
    collected = partial(
        collect_script,
        partial(cast(Callable[..., Env], ENVIRONMENTS.get(name)), image_size=size),
        environment=name,
        seed=rules.seed,
        processes=torch.get_num_threads() if processes is None else processes,
    )
    settings = {"plans_of": fingerprint(loaded.model), "rules": asdict(rules), **script.sources}
    goals = out.with_name(f"{out.name}.goals")
    with alone(out):
        shown = collected(script, path=goals, settings=settings)
        agent = loaded.agent(
            protocol=replace(protocol, num_action_steps=protocol.horizon),
            planner=planner,
            seed=rules.seed,
        )
        planned = _plan_all(loaded, agent, shown, rules=rules, protocol=protocol)
        store = collected(
            replace(script, commands=list(planned), feedback=None), path=out, settings=settings
        )
        shutil.rmtree(goals)
    return CollectedStore(store=out, episodes=len(store), frames=int(store.lengths.sum()))


def _plan_all(
    loaded: LoadedModel,
    agent: PlanningAgent,
    shown: EpisodeStore,
    *,
    rules: PlanRules,
    protocol: Protocol,
) -> Float[np.ndarray, "E T a"]:
    """Return the actions, environment units, of a plan from the start of each episode to a frame of it."""
    random = np.random.default_rng((rules.seed, 1))
    num_steps = protocol.horizon * protocol.frameskip
    nearer = random.random(len(shown)) < rules.nearer
    ahead = np.where(nearer, random.integers(1, num_steps + 1, len(shown)), num_steps)
    rows = shown.starts + np.minimum(ahead, shown.lengths - 1)
    plans = []
    for first in range(0, len(shown), _PLANS_AT_A_TIME):
        some = slice(first, first + _PLANS_AT_A_TIME)
        agent.reset(_observations(shown, rows[some]), protocol.horizon)
        start = _observations(shown, shown.starts[some])
        blocks = [agent.act(start) for _ in range(protocol.horizon)]  # of one plan
        plans.append(torch.cat(blocks, dim=1).unflatten(1, (num_steps, -1)).cpu().numpy())
    actions = np.concatenate(plans)  # [E, T, a]
    std = np.where(random.random(len(shown)) < rules.noisy, random.random(len(shown)), 0.0)
    steady = _STEADIEST * random.random((len(shown), 1))
    noise = persistent(random.standard_normal(actions.shape), steady)
    unit = loaded.normalizer.action_std[: actions.shape[-1]].cpu().numpy()
    return actions + rules.noise * std[:, None, None] * unit * noise


def _observations(store: EpisodeStore, rows: Int64[np.ndarray, " B"]) -> Observation:
    proprio = None if store.proprio is None else torch.from_numpy(store.proprio[rows])
    return Observation(pixels=torch.from_numpy(store.frames(rows)), proprio=proprio)
