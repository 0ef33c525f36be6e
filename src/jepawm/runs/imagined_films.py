"""The films of `jepawm imagine`: what was imagined, other actions, a plan after each iteration; for Rerun too."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from jepawm.contracts import Env
from jepawm.evaluation.imagination import Clip, Imagination, StepErrors
from jepawm.evaluation.watching import Look
from jepawm.hub.load import LoadedModel
from jepawm.report.film import Panel, difference, lay_out
from jepawm.report.rerun_file import Iteration, write_rerun
from jepawm.types import Context, Latent, Observation, Task, concatenate

_MOST_LOOKS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Experience:
    """A clip, its goal, and how its first plan came about."""

    clip: Clip
    """What was seen and done."""
    goal: Observation
    """Observation `[1]` of the goal."""
    looks: list[Look]
    """What the planner looked at for its first plan."""
    success: bool | None
    """Whether the goal was reached; None of recordings."""
    env: Env | None
    """Where it was acted; None of recordings."""
    task: Task | None
    """Task that was executed; None of recordings."""


def imagined_film(
    loaded: LoadedModel, clip: Clip, *, imagined: Imagination, every: int
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Film a clip, what was imagined of it, alone and with real frames, and where they differ."""
    decoder, real = loaded.require_decoder(), clip.obs.pixels.cpu().numpy()
    alone, helped = (decoder.pixels(one).cpu().numpy() for one in (imagined.alone, imagined.helped))
    steps = [f"real, block {k}" for k in range(len(real))]
    return lay_out(
        [
            [(steps, real), ("imagined", alone), ("difference", difference(alone, real))],
            [
                ("seen, decoded", decoder.pixels(imagined.seen).cpu().numpy()),
                (f"real frame every {every}", helped),
                ("difference", difference(helped, real)),
            ],
        ]
    )


@torch.no_grad()
def counterfactual_film(
    loaded: LoadedModel, experienced: Experience, *, window: int
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Film the same start under other actions: imagined, and real where there is a simulator."""
    actions = experienced.clip.actions
    choices = {
        "as it was": actions,
        "mean action": torch.zeros_like(actions),
        "mirrored": -actions,
        "in reverse order": actions.flip(0),
    }
    above, below = [], []
    for name, chosen in choices.items():
        pictures = _pictures(loaded, experienced.clip.obs[:1], chosen, window=window)
        below.append((f"imagined: {name}", pictures))
        if experienced.env is not None and experienced.task is not None:
            real = _really(loaded, experienced.env, experienced.task, chosen)
            above.append((f"real: {name}", real))
    return lay_out([above, below] if above else [below])


def planning_film(
    loaded: LoadedModel, experienced: Experience, *, window: int
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Film the cheapest candidate of each iteration: one panel a block, one frame an iteration."""
    start, goal = experienced.clip.obs[:1], experienced.goal.pixels.cpu().numpy()
    looks = list(enumerate(experienced.looks, start=1))
    if not looks:  # a plan that nobody evaluated: the first proposal of `direct`
        film = _pictures(loaded, start, experienced.clip.actions, window=window)
        return lay_out([[("executed unseen", film), ("goal", goal)]])
    step = -(-len(looks) // _MOST_LOOKS)
    chosen = sorted({*range(0, len(looks), step), len(looks) - 1})
    names, films = [], []
    for index in chosen:
        number, look = looks[index]
        best = int(look.cost[0].nan_to_num(nan=float("inf")).argmin())
        names.append(f"{number}: cost {float(look.cost[0, best]):.3g}")
        films.append(_pictures(loaded, start, look.actions[0, best], window=window))
    blocks = np.stack(films, axis=1)  # [H+1, iterations, 3, h, w]
    panels: list[Panel] = [(names, blocks[0])]
    panels += [(f"block {k}", blocks[k]) for k in range(1, len(blocks))]
    panels.append(("goal", goal))
    half = -(-len(panels) // 2)
    return lay_out([panels[:half], panels[half:]])


@torch.no_grad()
def _pictures(
    loaded: LoadedModel, start: Observation, actions: Float[Tensor, "H A"], *, window: int
) -> UInt8[np.ndarray, "frames 3 height width"]:
    """Return the decoded first frame and what is imagined after each block `[H+1, 3, h, w]`."""
    device = loaded.normalizer.action_mean.device
    seen = loaded.model.encode(loaded.normalizer.observation(start.to(device)))
    rolled = _rolled(loaded, seen, actions[None], window=window)
    return loaded.require_decoder().pixels(rolled)[0].cpu().numpy()


def _really(
    loaded: LoadedModel, env: Env, task: Task, actions: Float[Tensor, "H A"]
) -> UInt8[np.ndarray, "frames 3 height width"]:
    """Return the frames `[H+1, 3, h, w]` after each block of actions in the environment."""
    obs = env.reset([task])
    frameskip = loaded.experiment.data.frameskip
    blocks = loaded.normalizer.unnormalize_action(actions)
    frames = [execute_block(env, block[None], frameskip=frameskip).pixels for block in blocks]
    return torch.cat([obs.pixels, *frames]).cpu().numpy()


def execute_block(env: Env, block: Float[Tensor, "1 A"], *, frameskip: int) -> Observation:
    """Act in an environment `frameskip` times; returns the last observation `[1]`."""
    obs: Observation | None = None
    for action in np.split(block.cpu().numpy(), frameskip, axis=1):
        obs = env.step(action)
    assert obs is not None
    return obs


@torch.no_grad()
def write_viewer_file(
    path: Path,
    loaded: LoadedModel,
    *,
    experienced: Experience,
    imagined: Imagination,
    errors: list[StepErrors],
    window: int,
) -> None:
    """Write what the films show, and all candidates of the first plan, for the Rerun viewer."""
    decoder, probe = loaded.require_decoder(), loaded.state_probe
    start = imagined.seen[:1]
    looks = []
    for look in experienced.looks:
        places = None
        if probe is not None:
            rolled = _rolled(loaded, start, look.actions[0], window=window)
            places = probe(rolled)[..., :2].cpu().numpy()
        costs = look.cost[0].double().cpu().numpy()
        looks.append(Iteration(costs=costs, places=places, seconds=look.seconds))
    write_rerun(
        path,
        name=loaded.experiment.name,
        pictures={
            "real": experienced.clip.obs.pixels.cpu().numpy(),
            "imagined": decoder.pixels(imagined.alone).cpu().numpy(),
            "imagined_with_frames": decoder.pixels(imagined.helped).cpu().numpy(),
            "goal": experienced.goal.pixels.cpu().numpy(),
        },
        errors={
            one.name: [getattr(row, one.name) for row in errors]
            for one in fields(StepErrors)
            if one.name != "k"
        },
        iterations=looks,
    )


def _rolled(
    loaded: LoadedModel, start: Latent, actions: Float[Tensor, "K H A"], *, window: int
) -> Latent:
    """Return latents `[K, H+1]` of plans from one observed latent `[1]`."""
    many = start.map(lambda part: part[None].expand(len(actions), *part.shape))
    context = Context(latents=many, actions=actions[:, :0])
    return concatenate([many, loaded.model.rollout(context, actions, window=window)], dim=1)
