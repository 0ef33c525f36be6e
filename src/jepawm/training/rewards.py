"""Train a reward on the latents of a frozen world model: from numbers, labels, or preferences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from jepawm.data.windows import Windows
from jepawm.errors import UserError
from jepawm.models.rewards import RewardEnsemble, reward_shape
from jepawm.models.world_model import JEPAWorldModel
from jepawm.rewards import RewardConfig, RewardKind
from jepawm.training.optim import (
    OptimConfig,
    batch_indices,
    build_optimizer,
    step_generator,
)
from jepawm.training.parts import PartHooks, PartState, part_optim, train_part
from jepawm.training.validation import encode_windows
from jepawm.types import Context, Latent

_SCALING_WINDOWS = 512


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Which of two pieces of experience is better; a piece is a window."""

    first: Int64[Tensor, " n"]
    """Windows `[n]`."""
    second: Int64[Tensor, " n"]
    """Windows `[n]` that they are compared with."""
    first_is_better: Float[Tensor, " n"]
    """1, 0, or 0.5 where neither is."""

    def __getitem__(self, index: Tensor) -> "Preferences":
        """Return some of them."""
        return Preferences(
            first=self.first[index],
            second=self.second[index],
            first_is_better=self.first_is_better[index],
        )


@dataclass(frozen=True, kw_only=True)
class RewardData:
    """What a reward learns from."""

    windows: Windows
    """Pieces of experience: one frame, and the blocks that follow it."""
    targets: Float[Tensor, "n T"] | None = None
    """Reward of each block of each window, mean over its environment steps; None for preferences."""
    preferences: Preferences | None = None
    """Comparisons of windows; None where there are numbers."""

    @property
    def size(self) -> int:
        """Return how many pieces, or pairs, there are."""
        return len(self.windows if self.preferences is None else self.preferences.first)


def block_rewards(windows: Windows, arrival: Float[np.ndarray, " F"]) -> Float[Tensor, "n T"]:
    """Return the mean reward of each block of all windows, of rewards `[F]` on arriving at frames."""
    first = windows.store.starts[windows.table[:, 0]] + windows.table[:, 1]
    steps = first[:, None] + np.arange(1, windows.span)  # [n, T * f]
    each = np.take(arrival, steps).reshape(len(windows), windows.num_steps, windows.frameskip)
    return torch.from_numpy(each.mean(-1).astype(np.float32))


@dataclass(kw_only=True)
class RewardState(PartState):
    """What training a reward changes."""

    reward: RewardEnsemble
    """The networks."""

    @property
    def module(self) -> RewardEnsemble:
        """Return the networks."""
        return self.reward


def new_reward(
    model: JEPAWorldModel, data: RewardData, *, config: RewardConfig, kind: RewardKind, seed: int
) -> RewardState:
    """Build a reward for a world model, its inputs and outputs scaled by some windows of the data."""
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        latents, actions = encode_windows(
            model, data.windows, num_windows=_SCALING_WINDOWS, device=device
        )
        shape = reward_shape(latents, action_dim=model.action_dim)
        reward = RewardEnsemble(config.head, shape, is_chance=kind == "success")
    reward.to(device).fit_inputs(latents[:, 1:], actions)
    if kind == "reward" and data.targets is not None:
        reward.offset.fill_(float(data.targets.mean()))
        reward.scale.fill_(max(float(data.targets.std()), 1e-6))
    return RewardState(reward=reward, optimizer=build_optimizer(reward, optim_of(config)))


def train_reward(
    state: RewardState,
    model: JEPAWorldModel,
    *,
    data: RewardData,
    config: RewardConfig,
    kind: RewardKind,
    seed: int,
    hooks: PartHooks,
) -> None:
    """Train until `config.num_steps`, from wherever the state is, or until a stop is asked for.

    Every random choice is a function of the seed and the step.
    """
    members = members_of(data, config, seed=seed)
    weight = config.predicted_weight

    def terms_of(step: int) -> dict[str, Tensor]:
        index = batch_indices(
            num_windows=data.size, batch_size=config.batch_size, seed=seed, step=step
        )
        terms = reward_loss(
            state.reward, model, data=data, index=index, members=members[index], kind=kind
        )
        loss = (1 - weight) * terms["seen"] + weight * terms["predicted"]
        return {"loss": loss, **terms}

    train_part(
        state,
        terms_of,
        optim=optim_of(config),
        hooks=hooks,
        name="reward",
        check=", or check the rewards",
    )


def reward_loss(
    reward: RewardEnsemble,
    model: JEPAWorldModel,
    *,
    data: RewardData,
    index: Int64[Tensor, " B"],
    members: Bool[Tensor, "B members"],
    kind: RewardKind,
) -> dict[str, Tensor]:
    """Return the loss on latents of real frames (`seen`) and on those predicted from the first one.

    Args:
        reward: the networks.
        model: the frozen world model.
        data: what they learn from.
        index: windows, or pairs of them.
        members: which members learn from which.
        kind: from numbers, labels or preferences.
    """
    if data.preferences is None:
        assert data.targets is not None
        found = two_views(reward, model, windows=data.windows, index=index)
        wanted = data.targets[index].to(found["seen"].device)[..., None]  # [B, T, 1]
        return {
            name: _mean_of(_errors(each, wanted, reward=reward, kind=kind).mean(1), members)
            for name, each in found.items()
        }
    pairs = data.preferences[index]
    first = two_views(reward, model, windows=data.windows, index=pairs.first)
    second = two_views(reward, model, windows=data.windows, index=pairs.second)
    losses = {}
    for name in first:  # Bradley and Terry: the chance is the logistic function of the difference
        logits = (first[name] - second[name]).sum(1)  # [B, E]
        wanted = pairs.first_is_better.to(logits)[:, None].expand_as(logits)
        each = binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        losses[name] = _mean_of(each, members)
    return losses


def two_views(
    reward: RewardEnsemble, model: JEPAWorldModel, *, windows: Windows, index: Tensor
) -> dict[str, Float[Tensor, "B T members"]]:
    """Return what members say of the blocks of windows: of real frames, and of predicted ones."""
    latents, actions, predicted = encode_and_predict(model, windows, index=index)
    return {
        "seen": reward.members(latents, actions),
        "predicted": reward.members(predicted, actions),
    }


@torch.no_grad()
def encode_and_predict(
    model: JEPAWorldModel, windows: Windows, *, index: Tensor
) -> tuple[Latent, Float[Tensor, "B T A"], Latent]:
    """Return latents `[B, T]` after each block, the blocks, and what is predicted from the first frame."""
    device = next(model.parameters()).device
    batch = windows.batch(index).to(device)
    latents = model.encode(batch.obs)  # [B, T + 1]
    context = Context(latents=latents[:, :1], actions=batch.actions[:, :0])
    return latents[:, 1:], batch.actions, model.rollout(context, batch.actions)


def members_of(data: RewardData, config: RewardConfig, *, seed: int) -> Bool[Tensor, "n members"]:
    """Return which members learn from which pieces: each from a part of the episodes, or pairs."""
    generator = step_generator(seed, 0)
    members = config.head.num_members
    if data.preferences is not None:
        return torch.rand(data.size, members, generator=generator) < config.kept
    count = len(data.windows.store)
    kept = torch.rand(count, members, generator=generator) < config.kept
    return kept[torch.from_numpy(data.windows.table[:, 0])]


def optim_of(config: RewardConfig) -> OptimConfig:
    """Return the optimiser's settings."""
    return part_optim(
        num_steps=config.num_steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
    )


def window_numbers(windows: Windows, places: Sequence[tuple[int, int]]) -> Int64[Tensor, " n"]:
    """Return the windows that start at (episode, frame); a `UserError` names the first without one."""
    known = {(int(row[0]), int(row[1])): number for number, row in enumerate(windows.table)}
    for episode, start in places:
        if (episode, start) not in known:
            raise UserError(
                f"no piece of {windows.num_steps} action blocks starts at frame {start} of episode "
                f"{episode} of {windows.store.path}; it is too near to the end, or not there"
            )
    return torch.tensor([known[place] for place in places])


def _errors(each: Tensor, wanted: Tensor, *, reward: RewardEnsemble, kind: RewardKind) -> Tensor:
    """Return the error of each member `[B, T, E]`: squared, or the cross-entropy of labels."""
    if kind == "success":
        labels = wanted.clamp(0.0, 1.0).expand_as(each)
        return binary_cross_entropy_with_logits(each, labels, reduction="none")
    return ((each - wanted) / reward.scale).square()


def _mean_of(each: Float[Tensor, "B members"], members: Bool[Tensor, "B members"]) -> Tensor:
    """Return the mean of what members learn from."""
    learns = members.to(each)
    return (each * learns).sum() / learns.sum().clamp(min=1.0)
