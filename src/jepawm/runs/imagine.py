"""`jepawm imagine`: films of what a model sees, imagines and plans, in its environment or on recordings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from jepawm.agent import PlanningAgent
from jepawm.contracts import Env, Planner, Simulator
from jepawm.data.episodes import EpisodeStore
from jepawm.data.video import require_av
from jepawm.data.windows import Windows, hold_out, split_episodes
from jepawm.engine.process import tune_process
from jepawm.envs import RECORDINGS
from jepawm.errors import UserError, require_range
from jepawm.evaluation.imagination import (
    Clip,
    StepErrors,
    imagination_errors,
    imagine_clip,
)
from jepawm.evaluation.watching import Look, WatchedPlanner
from jepawm.files import complete_or_absent
from jepawm.files import data_root as default_data_root
from jepawm.hub.load import LoadedModel, load
from jepawm.report.film import write_film
from jepawm.report.rerun_file import require_rerun
from jepawm.runs.datasets import find_or_collect, use_recordings
from jepawm.runs.evaluate import TaskRules, find_tasks
from jepawm.runs.imagined_films import (
    Experience,
    counterfactual_film,
    execute_block,
    imagined_film,
    planning_film,
    write_viewer_file,
)
from jepawm.types import Observation, concatenate

_FPS = 2.0
FILMS = ("imagined", "counterfactuals", "planning")
"""Names of the films."""


@dataclass(frozen=True, kw_only=True)
class ImagineRules:
    """What is imagined."""

    protocol: str = "paper"
    """Protocol of the plan that is executed."""
    seed: int = 0
    """Seed of task and planner; of recordings, which clip."""
    every: int = 2
    """Action blocks after which the helped film sees a real frame again."""
    data: Path | None = None
    """Recordings to imagine instead of acting, a store or a data set of any known format."""
    num_blocks: int = 6
    """Action blocks of a clip of recordings."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        require_range(self, ("every", "num_blocks"), where="imagine", least=1, most=1000)
        require_range(self, ("seed",), where="imagine", least=0, most=2**63 - 1)


@dataclass(frozen=True, kw_only=True)
class Imagined:
    """What was imagined, how far from what was there, and where the films are."""

    source: str
    """Name of the model."""
    success: bool | None
    """Whether the executed plan ended at the goal; None of recordings."""
    errors: list[StepErrors]
    """Errors after 0, 1, ... action blocks."""
    iterations: int
    """How often the planner evaluated candidates for its first plan."""
    out: Path
    """Folder of the films and of `imagine.json`, which holds all of this."""


def imagine_run(
    source: str,
    *,
    rules: ImagineRules,
    out: Path,
    planner: Planner | None = None,
    device: str = "cpu",
    data_root: Path | None = None,
    encoder_weights: str | None = None,
    rerun: Path | None = None,
) -> Imagined:
    """Plan and execute one task, or take a clip of recordings, and film what the model makes of it.

    Args:
        source: run folder or bundled model, with a decoder.
        rules: what is imagined.
        out: folder to make.
        planner: planner in place of the experiment's; None keeps it.
        device: device to compute on.
        data_root: folder of recordings; None: the default one.
        encoder_weights: where the weights of a frozen encoder are here; None: where its training
            found them.
        rerun: file for the Rerun viewer to create; None: none.
    """
    tune_process()
    _require_free(out, rerun)
    loaded = load(source, device=device, encoder_weights=encoder_weights)
    decoder = loaded.require_decoder()
    agent = loaded.agent(protocol=rules.protocol, planner=planner, seed=rules.seed)
    recorded = rules.data is not None or loaded.experiment.env == RECORDINGS
    experienced = (_recorded if recorded else _acted)(loaded, agent, rules, data_root)
    clip = experienced.clip
    imagined = imagine_clip(
        loaded.model,
        clip,
        normalizer=loaded.normalizer,
        every=rules.every,
        window=agent.config.window,
    )
    errors = imagination_errors(imagined, clip, decoder=decoder, probe=loaded.state_probe)
    done = Imagined(
        source=source,
        success=experienced.success,
        errors=errors,
        iterations=len(experienced.looks),
        out=out,
    )
    with complete_or_absent(out) as partial:
        window = agent.config.window
        films = {
            "imagined": imagined_film(loaded, clip, imagined=imagined, every=rules.every),
            "counterfactuals": counterfactual_film(loaded, experienced, window=window),
            "planning": planning_film(loaded, experienced, window=window),
        }
        _write(partial, films, done, rules)
        if rerun is not None:
            write_viewer_file(
                rerun,
                loaded,
                experienced=experienced,
                imagined=imagined,
                errors=errors,
                window=window,
            )
    return done


def _require_free(out: Path, rerun: Path | None) -> None:
    """Refuse before the work what could not be written after it."""
    require_av()
    if rerun is not None:
        _require_new(rerun)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} already holds files; choose another --out")


def _write(
    folder: Path, films: Mapping[str, np.ndarray], done: Imagined, rules: ImagineRules
) -> None:
    """Write the films, and `imagine.json` beside them."""
    for name, film in films.items():
        write_film(film, folder / name, fps=_FPS)
    content = {
        **asdict(done),
        "out": str(done.out),
        "rules": {**asdict(rules), "data": str(rules.data)},
    }
    (folder / "imagine.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def _require_new(rerun: Path) -> None:
    """Refuse to overwrite a file, or to find after the work that nobody can write it."""
    require_rerun()
    if rerun.exists():
        raise UserError(f"{rerun} exists; choose another --rerun")


def _acted(
    loaded: LoadedModel, agent: PlanningAgent, rules: ImagineRules, data_root: Path | None
) -> Experience:
    """Plan and execute one task of the test split."""
    protocol, env = agent.protocol, loaded.make_env()
    tasks_of = TaskRules(num_tasks=1, seed=rules.seed, data_root=data_root)
    task = find_tasks(loaded.experiment, env, protocol=protocol, rules=tasks_of)[0]
    watched = WatchedPlanner(agent.planner)
    agent = loaded.agent(protocol=protocol, planner=watched, seed=rules.seed)
    obs = env.reset([task])
    goal = env.goal_observation()
    agent.reset(goal, protocol.num_steps)
    seen, blocks, states = [obs], [], [_states(env)]
    looks: list[Look] = []
    for _ in range(protocol.num_steps):
        block = agent.act(obs)
        looks = looks or list(watched.looks)
        obs = execute_block(env, block, frameskip=protocol.frameskip)
        seen.append(obs)
        states.append(_states(env))
        blocks.append(loaded.normalizer.normalize_action(block))
    known = [one for one in states if one is not None]
    clip = Clip(
        obs=concatenate(seen, dim=0),
        actions=torch.cat(blocks),
        states=np.concatenate(known) if len(known) == len(states) else None,
    )
    success = bool(env.success()[0])
    return Experience(clip=clip, goal=goal, looks=looks, success=success, env=env, task=task)


def _recorded(
    loaded: LoadedModel, agent: PlanningAgent, rules: ImagineRules, data_root: Path | None
) -> Experience:
    """Take a clip of an episode that was held out, and plan from its first frame to its last."""
    experiment, root = loaded.experiment, default_data_root(data_root)
    if rules.data is not None:
        clean = replace(experiment, data=replace(experiment.data, store=None))
        experiment = use_recordings(clean, rules.data, data_root=root)
    data = experiment.data
    store = find_or_collect(experiment.env, data, data_root=root)
    clip = _clip_of(store, loaded, rules, foreign=rules.data is not None)
    watched = WatchedPlanner(agent.planner)
    count = len(clip.actions)
    protocol = replace(
        agent.protocol,
        horizon=count,
        num_action_steps=count,
        max_env_steps=count * agent.protocol.frameskip,
    )
    again = loaded.agent(protocol=protocol, planner=watched, seed=rules.seed)
    goal = clip.obs[-1:]
    again.reset(goal, count)
    again.act(clip.obs[:1])
    return Experience(
        clip=clip, goal=goal, looks=list(watched.looks), success=None, env=None, task=None
    )


def _clip_of(
    store: EpisodeStore, loaded: LoadedModel, rules: ImagineRules, *, foreign: bool
) -> Clip:
    """Cut a clip out of an episode that training has not seen; of foreign recordings, out of any."""
    data = loaded.experiment.data
    seen, held_out = hold_out(len(store), num_held_out=0 if foreign else data.held_out)
    _, val = split_episodes(len(seen), train_fraction=data.train_fraction, seed=data.split_seed)
    choice = np.arange(len(store)) if foreign else held_out if len(held_out) else val
    span = rules.num_blocks * data.frameskip
    fitting = [int(one) for one in choice if store.lengths[one] > span]
    if not fitting:
        raise UserError(
            f"no episode of {store.path} that can be shown has {span + 1} frames; give a smaller "
            "--num-blocks"
        )
    episode = fitting[rules.seed % len(fitting)]
    windows = Windows(
        store,
        episodes=[episode],
        num_steps=rules.num_blocks,
        frameskip=data.frameskip,
        normalizer=loaded.normalizer.to("cpu").identity(),
    )
    chosen = torch.tensor([int(np.random.default_rng(rules.seed).integers(len(windows)))])
    batch = windows.batch(chosen)
    assert isinstance(batch.obs, Observation)  # these windows come without a feature cache
    blocks = batch.actions[0].to(loaded.normalizer.action_mean.device)
    return Clip(
        obs=batch.obs[0],
        actions=loaded.normalizer.normalize_action(blocks),
        states=None if store.state is None else windows.states(chosen)[0],
    )


def _states(env: Env) -> np.ndarray | None:
    return env.states() if isinstance(env, Simulator) else None


def render_imagined(done: Imagined) -> str:
    """Return the errors as a table for a person."""
    names = {
        "k": "block",
        "latent": "latent",
        "latent_with_frames": "with frames",
        "picture": "picture",
        "picture_with_frames": "with frames",
        "picture_seen": "decoder",
        "state": "place",
        "state_with_frames": "with frames",
    }
    lines = ["".join(f"{title:>13}" for title in names.values())]
    lines += ["".join(f"{_cell(getattr(row, name)):>13}" for name in names) for row in done.errors]
    ended = {True: "the goal was reached", False: "the goal was not reached", None: "recordings"}
    return "\n".join([*lines, f"{ended[done.success]}; films and imagine.json in {done.out}"])


def _cell(value: float | int | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.4g}"


__all__: Sequence[str] = ["FILMS", "ImagineRules", "Imagined", "imagine_run", "render_imagined"]
