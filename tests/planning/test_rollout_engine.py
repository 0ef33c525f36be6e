"""Candidate rollouts equal plain rollouts on repeated contexts, however they are chunked."""

import pytest
import torch

from jepawm.planning.rollout_engine import chunks, rollout_candidates
from jepawm.types import Context, Latent, concatenate


class WindowedModel:
    """A small model that depends on every latent, proprio code and action in its window."""

    window = 3

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.strides: list[int] = []

    def encode(self, obs):
        raise NotImplementedError

    def predict(self, latents, actions):
        raise NotImplementedError

    def rollout(self, context, actions, *, window=None):
        window = window or self.window
        self.batches.append(actions.shape[0])
        self.strides.append(context.latents.tokens.stride(0))
        latents, past = context.latents, context.actions
        steps = []
        for action in actions.unbind(1):
            past = torch.cat([past, action[:, None]], dim=1)[:, -window:]
            seen = latents[:, -window:]
            push = past.sum((1, 2))[:, None, None]
            step = Latent(
                tokens=(seen.tokens.mean(1) + push).sin()[:, None],
                proprio=(seen.proprio.sum(1) * 0.5 + push)[:, None],
            )
            steps.append(step)
            latents = concatenate([latents, step], dim=1)
        return concatenate(steps, dim=1)


def _problem(batch=3, candidates=5, length=2):
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    latents = Latent(tokens=randn(batch, length, 4, 6), proprio=randn(batch, length, 4, 2))
    context = Context(latents=latents, actions=randn(batch, length - 1, 7))
    return context, randn(batch, candidates, 4, 7)


@pytest.mark.parametrize("max_candidates", [1, 2, 4, 5, 7, 10, 15, 1000])
@pytest.mark.parametrize("window", [None, 1, 2])
def test_equals_plain_rollouts(max_candidates, window):
    context, actions = _problem()
    model = WindowedModel()
    got = rollout_candidates(model, context, actions, window=window, max_candidates=max_candidates)
    assert max(model.batches) <= max_candidates
    assert sum(model.batches) == 15
    for problem in range(3):
        for candidate in range(5):
            alone = context[problem : problem + 1]
            expected = WindowedModel().rollout(
                alone, actions[problem, candidate][None], window=window
            )
            torch.testing.assert_close(got.tokens[problem, candidate], expected.tokens[0])
            torch.testing.assert_close(got.proprio[problem, candidate], expected.proprio[0])


def test_one_problem_shares_its_context_without_a_copy():
    context, actions = _problem(batch=1)
    model = WindowedModel()
    rollout_candidates(model, context, actions)
    assert model.strides == [0]


def test_window_changes_the_result():
    context, actions = _problem()
    short = rollout_candidates(WindowedModel(), context, actions, window=1)
    full = rollout_candidates(WindowedModel(), context, actions)
    assert not torch.allclose(short.tokens, full.tokens)


def test_chunks_are_even():
    sizes = [problems.stop - problems.start for problems, _ in chunks(96, 300, max_candidates=4096)]
    assert sum(sizes) == 96
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) * 300 <= 4096


def test_no_room_for_one_candidate_is_refused():
    with pytest.raises(ValueError, match="max_candidates"):
        list(chunks(1, 1, max_candidates=0))
