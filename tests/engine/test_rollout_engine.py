"""Candidate rollouts equal plain rollouts on repeated contexts, however they are chunked."""

import shutil
import subprocess
import sys
import threading

import pytest
import torch

from jepawm.engine.config import EngineConfig
from jepawm.engine.rollout_engine import RolloutEngine, Workers, chunks
from jepawm.errors import UserError
from jepawm.planning.gradients import differentiate
from jepawm.planning.objectives import LatentDistance
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
            assert seen.proprio is not None
            push = past.sum((1, 2))[:, None, None]
            step = Latent(
                tokens=(seen.tokens.mean(1) + push).sin()[:, None],
                proprio=(seen.proprio.sum(1) * 0.5 + push)[:, None],
            )
            steps.append(step)
            latents = concatenate([latents, step], dim=1)
        return concatenate(steps, dim=1)


class SharingModel(WindowedModel):
    """The same with a shared context that records what it is asked for."""

    def __init__(self, *, bytes_each: int = 100) -> None:
        super().__init__()
        self.bytes_each = bytes_each
        self.asked: dict[str, object] = {}
        self.threads: list[int] = []
        self.halved: list[bool] = []

    def share_context(self, context, *, window=None):
        self.asked = {"window": window}
        return SharedContext(self, context)


class SharedContext:
    tokens_per_candidate = 4
    flop_per_token = 1e6

    def __init__(self, model: SharingModel, context: Context) -> None:
        self.model, self.context = model, context

    def bytes_per_candidate(self, horizon: int) -> int:
        return horizon * self.model.bytes_each

    def part(self, problems: slice) -> "SharedContext":
        return SharedContext(self.model, self.context[problems])

    def __call__(self, actions):
        self.model.threads.append(torch.get_num_threads())
        self.model.halved.append(torch.is_autocast_enabled("cpu"))
        shape = actions.shape[:2]
        context = self.context.map(lambda part: part.repeat_interleave(shape[1], dim=0))
        rolled = self.model.rollout(context, actions.flatten(0, 1))
        return rolled.map(lambda part: part.unflatten(0, shape))


def _problem(batch=3, candidates=5, length=2):
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    latents = Latent(tokens=randn(batch, length, 4, 6), proprio=randn(batch, length, 4, 2))
    context = Context(latents=latents, actions=randn(batch, length - 1, 7))
    goal = Latent(tokens=randn(batch, 4, 6), proprio=randn(batch, 4, 2))
    return context, randn(batch, candidates, 4, 7), goal


@pytest.mark.parametrize("max_candidates", [1, 2, 4, 5, 7, 10, 15, 1000])
@pytest.mark.parametrize("window", [None, 1, 2])
def test_equals_plain_rollouts(max_candidates, window):
    context, actions, goal = _problem()
    model = WindowedModel()
    config = EngineConfig(chunk_tokens=max_candidates * (window or 3) * 4)
    engine = RolloutEngine(model, context, window=window, config=config)
    got = engine.latents(actions)
    assert max(model.batches) <= max_candidates
    assert sum(model.batches) == 15
    for problem in range(3):
        for candidate in range(5):
            alone = context[problem : problem + 1]
            expected = WindowedModel().rollout(
                alone, actions[problem, candidate][None], window=window
            )
            torch.testing.assert_close(got.tokens[problem, candidate], expected.tokens[0])
            assert got.proprio is not None
            torch.testing.assert_close(got.proprio[problem, candidate], expected.proprio[0])
    objective = LatentDistance(reduction="sum")
    cost = engine.cost(actions, objective=objective, goal=goal)
    torch.testing.assert_close(cost, objective(got, goal, actions))


def test_one_problem_shares_its_context_without_a_copy():
    context, actions, _ = _problem(batch=1)
    model = WindowedModel()
    RolloutEngine(model, context).latents(actions)
    assert model.strides == [0]


def test_window_changes_the_result():
    context, actions, _ = _problem()
    short = RolloutEngine(WindowedModel(), context, window=1).latents(actions)
    full = RolloutEngine(WindowedModel(), context).latents(actions)
    assert not torch.allclose(short.tokens, full.tokens)


def test_chunks_are_even():
    sizes = [problems.stop - problems.start for problems, _ in chunks(96, 300, max_candidates=4096)]
    assert sum(sizes) == 96
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) * 300 <= 4096


def test_no_room_for_one_candidate_is_refused():
    with pytest.raises(ValueError, match="max_candidates"):
        list(chunks(1, 1, max_candidates=0))


def test_memory_bounds_the_candidates_of_a_chunk():
    context, actions, _ = _problem()
    model = SharingModel(bytes_each=100)
    RolloutEngine(model, context, config=EngineConfig(max_memory_bytes=1199)).latents(actions)
    assert max(model.batches) == 2  # 400 bytes each


def test_too_little_memory_names_the_least_that_works():
    context, actions, goal = _problem()
    model = SharingModel(bytes_each=1000)
    engine = RolloutEngine(model, context, config=EngineConfig(max_memory_bytes=3999))
    with pytest.raises(UserError, match="least that works is 4000"):
        engine.cost(actions, objective=LatentDistance(), goal=goal)
    least = RolloutEngine(model, context, config=EngineConfig(max_memory_bytes=4000))
    assert least.cost(actions, objective=LatentDistance(), goal=goal).shape == (3, 5)


def test_the_window_reaches_the_model():
    context, actions, _ = _problem()
    model = SharingModel()
    RolloutEngine(model, context, window=2).latents(actions)
    assert model.asked == {"window": 2}


def test_contexts_are_prepared_when_something_is_rolled_out():
    context, actions, goal = _problem()
    model = SharingModel()
    cost = RolloutEngine(model, context).cost_to(goal, objective=LatentDistance())
    assert model.asked == {}  # a planner may need no cost at all
    cost(actions)
    assert model.asked == {"window": model.window}


def test_a_cost_can_be_had_for_some_problems():
    context, actions, goal = _problem()
    cost = RolloutEngine(WindowedModel(), context).cost_to(goal, objective=LatentDistance())
    rows = torch.tensor([2, 0])
    torch.testing.assert_close(cost.of(rows)(actions[rows]), cost(actions)[rows])


@pytest.fixture
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("chunk_tokens", [8, 20, 10_000])
def test_gradients_are_those_of_one_backward_pass(chunk_tokens):
    context, actions, goal = _problem()
    objective = LatentDistance()
    config = EngineConfig(chunk_tokens=chunk_tokens)
    cost = RolloutEngine(SharingModel(), context, config=config).cost_to(goal, objective=objective)
    with torch.no_grad():  # as an agent plans
        found, gradient = cost.with_gradient(actions)
    expected, slope = differentiate(cost, actions)
    assert slope.abs().min() > 0
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, slope)
    assert not found.requires_grad
    assert not gradient.requires_grad


def test_threads_descend_with_candidates_of_their_own(monkeypatch):
    monkeypatch.setattr("jepawm.engine.rollout_engine.WORTH_WORKERS", 4)
    context, actions, goal = _problem(candidates=4)
    model = SharingModel()
    config = EngineConfig(num_threads=2)
    cost = RolloutEngine(model, context, config=config).cost_to(goal, objective=LatentDistance())
    with torch.no_grad():
        cost.with_gradient(actions)
    assert model.threads == [1, 1, 1]  # a problem each: none is cut in two where that is enough
    assert model.batches == [4, 4, 4]


@pytest.mark.usefixtures("_two_threads")
def test_large_weights_are_read_by_all_threads(monkeypatch):
    context, actions, _ = _problem(batch=1, candidates=1)
    monkeypatch.setattr(SharedContext, "flop_per_token", 2e6)
    RolloutEngine(model := SharingModel(), context).latents(actions)
    assert set(model.threads) == {2}


@pytest.mark.usefixtures("_two_threads")
def test_threads_are_chosen_by_the_work_or_by_the_user_and_put_back():
    context, actions, _ = _problem()
    small, large, chosen = (SharingModel() for _ in range(3))
    RolloutEngine(small, context, config=EngineConfig(chunk_tokens=4)).latents(actions)
    RolloutEngine(large, context).latents(actions)  # 60 tokens at once
    RolloutEngine(chosen, context, config=EngineConfig(num_threads=1)).latents(actions)
    assert (set(small.threads), set(large.threads)) == ({1}, {2})
    assert set(chosen.threads) == {1}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("num_candidates", [4, 5, 12])
def test_threads_share_candidates_evenly(num_candidates, monkeypatch):
    monkeypatch.setattr("jepawm.engine.rollout_engine.WORTH_WORKERS", 4)
    context, actions, goal = _problem(batch=1, candidates=num_candidates)
    alone, shared = SharingModel(), SharingModel()
    config = EngineConfig(num_threads=2, chunk_tokens=4 * 3)  # 3 candidates at a time
    with torch.no_grad():
        got = RolloutEngine(shared, context, config=config).cost(
            actions, objective=LatentDistance(), goal=goal
        )
    plain = RolloutEngine(alone, context, config=EngineConfig(num_threads=1))
    torch.testing.assert_close(got, plain.cost(actions, objective=LatentDistance(), goal=goal))
    assert set(shared.threads) == {1}
    assert len(shared.batches) % 2 == 0
    assert max(shared.batches) <= 3
    assert max(shared.batches) - min(shared.batches) <= 1


def test_threads_share_the_memory(monkeypatch):
    monkeypatch.setattr("jepawm.engine.rollout_engine.WORTH_WORKERS", 4)
    context, actions, _ = _problem(batch=1, candidates=8)
    model = SharingModel(bytes_each=100)  # 400 bytes each
    config = EngineConfig(num_threads=2, max_memory_bytes=1700)
    with torch.no_grad():
        RolloutEngine(model, context, config=config).latents(actions)
    assert set(model.batches) == {2}


def test_bfloat16_is_autocast_and_latents_come_back_in_full():
    context, actions, _ = _problem()
    model = SharingModel()
    rolled = RolloutEngine(model, context, config=EngineConfig(precision="bfloat16")).latents(
        actions
    )
    assert model.halved == [True]
    assert rolled.tokens.dtype == torch.float32


def test_tf32_holds_while_the_engine_computes():
    context, actions, _ = _problem()
    seen: list[str] = []

    class Watching(WindowedModel):
        def rollout(self, context, actions, *, window=None):
            seen.append(torch.get_float32_matmul_precision())
            return super().rollout(context, actions, window=window)

    RolloutEngine(Watching(), context, config=EngineConfig(precision="tf32")).latents(actions)
    assert seen == ["high"]
    assert torch.get_float32_matmul_precision() == "highest"


COMPILED = """
import torch
from jepawm.models.predictor import Predictor, PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.models.world_model import JEPAWorldModel
from jepawm.engine.config import EngineConfig
from jepawm.engine.rollout_engine import RolloutEngine
from jepawm.types import Context, Latent
config = PredictorConfig(window=2, depth=2, num_heads=2, visual_dim=16)
predictor = Predictor(config, ProprioConfig(), latent_dim=12, grid=(2, 2), action_dim=3)
model = JEPAWorldModel(torch.nn.Identity(), predictor).eval()
with torch.no_grad():
    context = Context(latents=Latent(tokens=torch.randn(1, 2, 4, 12)), actions=torch.randn(1, 1, 3))
    actions = torch.randn(1, 20, 3, 3)
    plain = RolloutEngine(model, context).latents(actions).tokens
    for _ in range(2):
        engine = RolloutEngine(model, context, config=EngineConfig(compile="default"))
        compiled = engine.latents(actions).tokens
        mean = engine.latents(actions[:, :1]).tokens  # too few to be compiled for
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1, "compiled once"
    assert torch.allclose(mean, plain[:, :1], atol=1e-4)
    print(float((compiled - plain).abs().max() / plain.abs().max()))
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
def test_compiled_rollouts_are_the_same_and_compiled_once():
    """In a process of its own: the type checks of the tests cannot be compiled."""
    command = [sys.executable, "-c", COMPILED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1e-4


@pytest.mark.parametrize("model", [WindowedModel(), SharingModel()])
def test_split_products_need_our_predictor(model):
    context, actions, _ = _problem()
    engine = RolloutEngine(model, context, config=EngineConfig(precision="bfloat16x3"))
    with pytest.raises(UserError, match=r"bfloat16x3 is for the predictors of .*Model has its own"):
        engine.latents(actions)


def test_results_come_in_order_from_several_threads():
    together = threading.Barrier(2, timeout=10)

    def square(item):
        together.wait()  # passes only if two compute at a time
        return item * item

    assert Workers(2).map(square, [1, 2, 3, 4]) == [1, 4, 9, 16]


def test_each_has_one_core_and_no_gradients():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = Workers(2).map(lambda _: (torch.get_num_threads(), torch.is_grad_enabled()), [1, 2])
        assert seen == [(1, False)] * 2
        assert torch.get_num_threads() == 2
        assert torch.is_grad_enabled()
    finally:
        torch.set_num_threads(before)


def test_errors_are_raised_where_the_work_was_asked_for():
    workers = Workers(2)
    with pytest.raises(ZeroDivisionError):
        workers.map(lambda item: 1 / item, [1, 0])
    assert workers.map(lambda item: item, [3]) == [3]
