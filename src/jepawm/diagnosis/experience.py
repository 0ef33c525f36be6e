"""Stretches of real experience that predictions are compared with: acted out in a simulator, or recorded."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import CollectionPolicy, Env, HoldsOut, Script, Simulator, WorldModel
from jepawm.data.windows import Windows
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer
from jepawm.protocol import Split
from jepawm.training.validation import spaced_indices
from jepawm.types import Latent, Observation, TensorStruct, concatenate

_BATCH = 16
"""Stretches that are held in memory at a time."""
RANDOM = "random actions with the mean and the standard deviation of the training data"
"""What is done in an environment that has no collection policy."""


@dataclass(frozen=True, kw_only=True)
class Stretch(TensorStruct):
    """Some stretches of experience, encoded."""

    latents: Latent
    """Latents `[B, T+1]` of what was seen."""
    actions: Float[Tensor, "B T A"]
    """Normalised action blocks between them."""


def act_out(
    env: Env,
    script: Script,
    *,
    model: WorldModel,
    normalizer: Normalizer,
    frameskip: int,
    num_steps: int,
    starts: Sequence[int],
) -> Iterator[Stretch]:
    """Carry out a script, encode what is seen, and yield stretches of it.

    Actions are rounded to float32, as those of data sets are.

    Args:
        env: the environment.
        script: starts and actions of each episode.
        model: encodes.
        normalizer: statistics of the training data.
        frameskip: environment steps in an action block.
        num_steps: action blocks of a stretch.
        starts: block of its episode at which each stretch begins.
    """
    if script.feedback is not None and not isinstance(env, Simulator):
        raise UserError(
            f"the policy acts on exact states, and {type(env).__name__} has none; give recordings "
            "by --data"
        )
    device = normalizer.action_mean.device
    for part in parts(len(script.tasks)):
        piece, first = script[part], torch.tensor(starts[part])
        obs = env.reset(piece.tasks)
        latents, blocks = [_encode(model, obs, normalizer)], []
        for block in range(int(first.max()) + num_steps):
            actions = []
            for step in range(block * frameskip, (block + 1) * frameskip):
                wanted = np.stack([commands[step] for commands in piece.commands])  # [B, a]
                if piece.feedback is not None:
                    assert isinstance(env, Simulator)
                    wanted = piece.feedback(env.states(), wanted)
                actions.append(wanted.astype(np.float32))
                obs = env.step(actions[-1])
            blocks.append(torch.from_numpy(np.concatenate(actions, axis=1)))  # [B, A]
            latents.append(_encode(model, obs, normalizer))
        whole = Stretch(
            latents=concatenate([latent[:, None] for latent in latents], dim=1),
            actions=normalizer.normalize_action(torch.stack(blocks, dim=1).to(device)),
        )
        rows = torch.arange(len(first))[:, None]
        steps = first[:, None] + torch.arange(num_steps + 1)  # [B, T+1]
        yield Stretch(
            latents=whole.latents[rows, steps], actions=whole.actions[rows, steps[:, :-1]]
        )


def replay(
    windows: Windows, *, num_stretches: int, model: WorldModel, device: torch.device
) -> Iterator[Stretch]:
    """Yield evenly spaced windows of recordings, encoded."""
    indices = spaced_indices(windows, num_stretches)
    for part in parts(len(indices)):
        batch = windows.batch(indices[part]).to(device)
        assert isinstance(batch.obs, Observation)  # these windows come without a feature cache
        with torch.no_grad():
            yield Stretch(latents=model.encode(batch.obs), actions=batch.actions)


def draw_script(
    env: Env,
    policy: CollectionPolicy | None,
    *,
    normalizer: Normalizer,
    split: Split,
    generator: np.random.Generator,
    num_episodes: int,
    num_steps: int,
    data_root: Path,
) -> Script:
    """Draw episodes of exactly `num_steps` environment steps that training has not seen.

    Args:
        env: the environment.
        policy: who acts; of one that replays recordings, what is held out. None: nobody, actions are
            random.
        normalizer: statistics of the training data.
        split: what is held out is that of `val` or of `test`.
        generator: draws starts and actions.
        num_episodes: episodes.
        num_steps: environment steps of each; shorter ones are continued by others (`lengthen`).
        data_root: folder of recordings that a policy may replay.
    """
    if policy is None:
        tasks = env.sample_tasks(int(generator.integers(2**31)), num_tasks=num_episodes)
        noise = generator.standard_normal((num_episodes, num_steps, env.action_dim))
        cpu = normalizer.to("cpu")
        actions = noise * cpu.action_std.numpy() + cpu.action_mean.numpy()
        return Script(tasks=tasks, commands=list(actions))
    if isinstance(policy, HoldsOut):
        policy = policy.held_out(split)
    drawn = policy.script(
        generator, num_episodes=num_episodes, num_steps=num_steps, data_root=data_root
    )
    return replace(drawn, commands=lengthen(drawn.commands, num_steps, generator=generator))


def lengthen(
    commands: Sequence[Float[np.ndarray, "_ a"]],
    num_steps: int,
    *,
    generator: np.random.Generator,
) -> list[Float[np.ndarray, "T a"]]:
    """Return episodes of exactly `num_steps` commands: short ones go on by those of other episodes.

    Between two episodes commands change in a straight line, no faster than is usual in them.
    """
    changes = [np.linalg.norm(np.diff(one, axis=0), axis=1) for one in commands]
    usual = float(np.mean(np.concatenate(changes))) if any(map(len, changes)) else 0.0
    lengthened = []
    for own in commands:
        pieces = [own]
        while sum(map(len, pieces)) < num_steps:
            other = commands[int(generator.integers(len(commands)))]
            last = pieces[-1][-1]
            gap = float(np.linalg.norm(other[0] - last))
            num_between = max(int(np.ceil(gap / usual)) - 1, 0) if usual else 0
            ways = np.linspace(0.0, 1.0, num_between + 2)[1:-1, None]
            pieces += [last + ways * (other[0] - last), other]
        lengthened.append(np.concatenate(pieces)[:num_steps])
    return lengthened


def parts(count: int) -> list[slice]:
    """Cut `count` stretches into as few batches as memory allows, of nearly equal size."""
    edges = np.linspace(0, count, -(-count // _BATCH) + 1).round().astype(int).tolist()
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


@torch.no_grad()
def _encode(model: WorldModel, obs: Observation, normalizer: Normalizer) -> Latent:
    return model.encode(normalizer.observation(obs.to(normalizer.action_mean.device)))
