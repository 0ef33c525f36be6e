"""Cut episodes into windows: frames a frameskip apart, and the action blocks that lead between them.

A window of `T` steps at frameskip `f` has `T + 1` frames, `f` raw steps apart, and `T` action
blocks of `f` actions each: `T * f + 1` raw frames in all. Data leave this file normalised.
"""

import copy
import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jepawm.data.episodes import EpisodeStore
from jepawm.data.features import FeatureStore, TokenSource
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer
from jepawm.types import EncodedObservation, Observation, Trajectory

_LOG = logging.getLogger(__name__)
_FOR_FEW = (
    "with a single one --data.held-out 0 --data.train-fraction 1, which trains without validation",
    "with two --data.held-out 0",
    "with three --data.held-out 1",
)
"""What to set with one, two and three episodes."""


class Windows:
    """All windows of some episodes of a store, in order of episode and start."""

    def __init__(
        self,
        store: EpisodeStore,
        *,
        episodes: Sequence[int] | Int64[np.ndarray, " n"],
        num_steps: int,
        frameskip: int,
        normalizer: Normalizer,
        features: FeatureStore | None = None,
    ) -> None:
        """Cut `episodes` into windows of `num_steps` action blocks of `frameskip` actions.

        Episodes shorter than a window are left out; their number is logged. With `features`, the
        cache of the model's frozen encoder, windows hold tokens instead of pixels.
        """
        if features is not None:
            features.require_frames_of(store)
        self.features: TokenSource | None = features
        self.store = store
        self.num_steps = num_steps
        self.frameskip = frameskip
        self.normalizer = normalizer
        self.episodes = _checked_episodes(episodes, num_episodes=len(store))
        if num_steps < 1 or frameskip < 1:
            raise UserError(f"num_steps {num_steps} and frameskip {frameskip} must be at least 1")
        self.span = num_steps * frameskip + 1
        lengths = store.lengths[self.episodes]
        table = window_table(lengths.tolist(), span=self.span)
        self.num_short_episodes = int((lengths < self.span).sum())
        if len(table) == 0:
            raise UserError(
                f"no episode of {store.path} is long enough: num_steps {num_steps} x frameskip "
                f"{frameskip} needs {self.span} frames ({self.span - 1} raw steps), the longest "
                f"of {len(lengths)} episodes has {lengths.max()}; use fewer steps, a smaller "
                "frameskip, or longer episodes"
            )
        if self.num_short_episodes:
            _LOG.warning(
                "%d of %d episodes are shorter than a window of %d frames and are left out",
                self.num_short_episodes,
                len(lengths),
                self.span,
            )
        table[:, 0] = self.episodes[table[:, 0]]
        self.table: Int64[np.ndarray, "n 3"] = table  # (episode, start, end exclusive)
        self._first_rows = store.starts[table[:, 0]] + table[:, 1]  # [n] rows of the whole store

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.table)

    def with_tokens(self, tokens: TokenSource) -> "Windows":
        """Return the same windows with these tokens of the store's frames instead of pixels."""
        windows = copy.copy(self)
        windows.features = tokens
        return windows

    def batch(self, indices: Int64[Tensor, " B"]) -> Trajectory:
        """Read windows `[B]`: observations `[B, T+1]` and action blocks `[B, T, f*a]`, normalised.

        Actions have the forms that the normaliser says.
        """
        rows = self._frame_rows(indices)
        steps = self._first_rows[indices.numpy()][:, None] + np.arange(self.span - 1)
        actions = torch.from_numpy(np.take(self.store.actions, steps, axis=0))  # [B, T*f, a]
        actions = self._in_form(actions, indices, rows=rows)
        blocks = action_blocks(actions, num_blocks=self.num_steps, frameskip=self.frameskip)
        obs = self._observations(rows)
        return Trajectory(obs=obs, actions=self.normalizer.normalize_action(blocks))

    def states(self, indices: Int64[Tensor, " B"]) -> Float[np.ndarray, "B T1 S"]:
        """Read simulator states `[B, T+1, S]`, float64, of windows `[B]`."""
        if self.store.state is None:
            raise UserError(f"{self.store.path} holds no simulator states")
        return np.take(self.store.state, self._frame_rows(indices), axis=0)

    def _in_form(self, actions: Tensor, indices: Tensor, *, rows: np.ndarray) -> Tensor:
        """Return the commands `[B, T*f, a]` of windows with frames `rows` as the model takes them."""
        commands = self.normalizer.commands
        if commands is None or commands.is_absolute:
            return actions
        proprio = None
        if self.store.proprio is not None:
            proprio = torch.from_numpy(np.take(self.store.proprio, rows[:, :-1], axis=0))
        first = self._first_rows[indices.numpy()]
        last = torch.from_numpy(np.take(self.store.actions, np.maximum(first - 1, 0), axis=0))
        began = commands.start(
            None if proprio is None else proprio[:, 0], otherwise=actions[:, 0]
        )  # an episode has no command before its first
        begins = torch.from_numpy(self.table[indices.numpy(), 1] == 0)[:, None]
        before = torch.where(begins, began, last)
        return commands.to_moves(actions, before=before, proprio=proprio)

    def _observations(self, rows: np.ndarray) -> Observation | EncodedObservation:
        proprio = None
        if self.store.proprio is not None:
            proprio = torch.from_numpy(np.take(self.store.proprio, rows, axis=0))
        if self.features is not None:
            tokens = self.features.tokens(rows)
            return self.normalizer.observation(EncodedObservation(tokens=tokens, proprio=proprio))
        pixels = torch.from_numpy(self.store.frames(rows))
        return self.normalizer.observation(Observation(pixels=pixels, proprio=proprio))

    def _frame_rows(self, indices: Tensor) -> np.ndarray:
        starts = self._first_rows[indices.numpy()]
        return frame_indices(starts, num_frames=self.num_steps + 1, frameskip=self.frameskip)


def window_table(lengths: Sequence[int], *, span: int) -> Int64[np.ndarray, "n 3"]:
    """List all windows of `span` raw frames as (episode, start, end exclusive), stride 1, in order.

    Episodes shorter than `span` have none. The reference uses `span = n * f` for `n` frames at
    frameskip `f`; this library `span = T * f + 1`.
    """
    if span < 1:
        raise UserError(f"span {span} must be at least 1")
    counts = np.maximum(np.asarray(lengths, dtype=np.int64) - span + 1, 0)
    episode = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    start = np.arange(counts.sum(), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([episode, start, start + span], axis=1)


def permute(table: Int64[np.ndarray, "n k"], seed: int) -> Int64[np.ndarray, "n k"]:
    """Shuffle the rows of a table by `torch.randperm` on the CPU."""
    return table[_permutation(len(table), seed=seed)]


def frame_indices(
    starts: Int64[np.ndarray, " n"], *, num_frames: int, frameskip: int
) -> Int64[np.ndarray, "n T"]:
    """Return the frame numbers `[n, num_frames]` of windows that start at `starts` `[n]`."""
    return starts[:, None] + np.arange(num_frames, dtype=np.int64) * frameskip


def action_blocks(
    actions: Float[Tensor, "*b R a"],
    *,
    num_blocks: int,
    frameskip: int,
    action_skip: int = 1,
    process_actions: Literal["concat", "sum"] = "concat",
) -> Float[Tensor, "*b T A"]:
    """Join the `R = num_blocks * frameskip` raw actions of windows into blocks.

    Every `action_skip`-th action is kept. Those of one block are joined in order of time
    (`concat`, `A = a * frameskip / action_skip`) or added (`sum`, `A = a`). With
    `frameskip < action_skip` each action kept is a row of its own, fewer than `num_blocks`.
    """
    kept = actions[..., ::action_skip, :]
    num_rows = num_blocks if frameskip >= action_skip else kept.shape[-2]
    if kept.shape[-2] % num_rows:
        raise UserError(
            f"{kept.shape[-2]} actions (frameskip {frameskip}, action_skip {action_skip}) do not "
            f"divide into {num_blocks} blocks; let action_skip divide frameskip"
        )
    pieces = kept.unflatten(-2, (num_rows, -1))  # [*b, T, frameskip / action_skip, a]
    return pieces.sum(dim=-2) if process_actions == "sum" else pieces.flatten(-2)


def split_episodes(
    num_episodes: int, *, train_fraction: float, seed: int
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """Split episodes into (train, val): shuffled by `torch.randperm`, the first part is for training.

    Training gets `int(train_fraction * num_episodes)` episodes, both parts stay shuffled.
    """
    if not 0 <= train_fraction <= 1:
        raise UserError(f"train_fraction {train_fraction} must be between 0 and 1")
    order = _permutation(num_episodes, seed=seed)
    num_train = int(train_fraction * num_episodes)
    return order[:num_train], order[num_train:]


def hold_out(
    num_episodes: int, *, num_held_out: int
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """Split episodes into those that training may see and the last `num_held_out`."""
    if not 0 <= num_held_out < num_episodes:
        raise UserError(
            f"data.held_out = {num_held_out}; there are {num_episodes} episodes, give 0 to "
            f"{num_episodes - 1}{too_few(num_episodes)}"
        )
    order = np.arange(num_episodes, dtype=np.int64)
    return order[: num_episodes - num_held_out], order[num_episodes - num_held_out :]


def too_few(num_episodes: int) -> str:
    """Say how to train on one to three episodes: with less set aside, or cut into more."""
    if num_episodes > len(_FOR_FEW):
        return ""
    return (
        f": {_FOR_FEW[num_episodes - 1]}; or cut long recordings into episodes by `jepawm data import "
        "SRC --cut-frames N --out STORE`, and give --data STORE"
    )


def _permutation(count: int, *, seed: int) -> Int64[np.ndarray, " n"]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()


def _checked_episodes(
    episodes: Sequence[int] | np.ndarray, *, num_episodes: int
) -> Int64[np.ndarray, " n"]:
    chosen = np.asarray(episodes, dtype=np.int64)
    if len(chosen) == 0:
        raise UserError("no episodes to cut windows from; change train_fraction or add episodes")
    if chosen.min() < 0 or chosen.max() >= num_episodes:
        raise UserError(
            f"episodes {chosen.min()} to {chosen.max()} were asked for, the store has "
            f"{num_episodes} (0 to {num_episodes - 1})"
        )
    return chosen
