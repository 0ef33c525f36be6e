"""Objectives that are composed: known answers of each term, sums, texts, files, agents."""

import math
from dataclasses import dataclass, replace

import pytest
import torch

import jepawm
from jepawm.errors import UserError
from jepawm.evaluation.results import describe
from jepawm.experiment import experiment_from_json, experiment_to_json
from jepawm.planning.binding import no_goal
from jepawm.planning.cem import CEM
from jepawm.planning.gradient import GradientDescent
from jepawm.planning.objectives import LatentDistance
from jepawm.planning.presets import find_preset
from jepawm.planning.terms.actions import ActionSize, Smoothness
from jepawm.planning.terms.composition import WeightedSum, needs_goal, weighted_sum
from jepawm.planning.terms.crop import Crop
from jepawm.planning.terms.expression import parse_objective
from jepawm.planning.terms.heads import Heads, bind
from jepawm.planning.terms.reward import Reward
from jepawm.planning.terms.sequence import InSequence
from jepawm.planning.terms.states import KeepOut, StateGoal
from jepawm.planning.terms.steps import Discounted, Terminal
from jepawm.recipes.wall import WALL
from jepawm.types import Latent, Observation


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Cost the first channel of every step, added up; needs no goal."""

    needs_goal = False

    def __call__(self, predicted, goal, actions):
        return predicted.tokens[..., 0, 0].sum(-1)


def line(*places: tuple[float, float]) -> Latent:
    """Return latents [1, 1, H] of one token: the places that a probe would read."""
    return Latent(tokens=torch.tensor(places, dtype=torch.float32).reshape(1, 1, len(places), 1, 2))


def place(x: float, y: float) -> Latent:
    return Latent(tokens=torch.tensor([x, y]).reshape(1, 1, 2))


def actions(*blocks: list[float]) -> torch.Tensor:
    return torch.tensor(blocks)[None, None]


PROBE = Heads(probe=lambda latents: latents.tokens.flatten(-2))
GOAL = place(3.0, 4.0)
NOTHING = actions([0.0, 0.0], [0.0, 0.0])


def test_a_weighted_sum_is_the_sum_of_its_costs():
    cost = 0.8 * LatentDistance() + 0.2 * ActionSize() - weighted_sum((0.5, Steps()))
    seen, acted = line((0.0, 0.0), (1.0, 4.0)), actions([1.0, 1.0], [2.0, 0.0])
    assert float(cost(seen, GOAL, acted)) == pytest.approx(0.8 * 2.0 + 0.2 * 1.5 - 0.5)
    assert float((-cost)(seen, GOAL, acted)) == pytest.approx(-1.4)


def test_sums_inside_sums_are_opened_and_equal_terms_joined():
    inner = LatentDistance() + ActionSize()
    cost = 2.0 * inner + 0.5 * LatentDistance()
    assert cost == WeightedSum(terms=(LatentDistance(), ActionSize()), weights=(2.5, 2.0))


def test_weights_that_cancel_out_are_refused():
    with pytest.raises(UserError, match="LatentDistance cancel out"):
        _ = LatentDistance() - LatentDistance()
    with pytest.raises(UserError, match="all weights"):
        _ = 0.0 * LatentDistance()
    with pytest.raises(UserError, match="finite"):
        _ = math.inf * LatentDistance()
    with pytest.raises(UserError, match="divided by 0"):
        _ = LatentDistance() / 0.0


def test_two_heads_are_two_terms():
    heads = [lambda predicted, acted, by=by: (predicted.tokens[..., 0, by],) * 2 for by in (0, 1)]
    both = Reward(heads[0], disagreement_weight=0.0) + Reward(heads[1], disagreement_weight=0.0)
    assert float(both(line((1.0, 10.0)), GOAL, actions([0.0]))) == -11.0


def test_what_is_no_objective_is_not_added():
    with pytest.raises(UserError, match="give another objective"):
        _ = LatentDistance() + 3.0  # pyright: ignore[reportOperatorIssue]


def test_action_size_and_smoothness():
    acted = actions([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 0.0, 0.0])  # actions (1,2) (3,4) (3,4) (0,0)
    assert float(ActionSize()(line((0, 0), (0, 0)), GOAL, acted)) == pytest.approx(55 / 8)
    smooth = bind(Smoothness(), Heads(action_dim=2))
    changes = (4 + 4) + 0 + (9 + 16)
    assert float(smooth(line((0, 0), (0, 0)), GOAL, acted)) == pytest.approx(changes / 6)
    with pytest.raises(UserError, match="width of an action"):
        Smoothness()(line((0, 0)), GOAL, acted)


def test_discount_counts_each_step_by_itself():
    seen = line((1.0, 0.0), (10.0, 0.0), (100.0, 0.0))
    acted = actions([0.0], [0.0], [0.0])
    assert float(Discounted(of=Steps(), factor=0.5)(seen, GOAL, acted)) == 1.0 + 5.0 + 25.0
    assert float(Terminal(of=Steps())(seen, GOAL, acted)) == 100.0
    with pytest.raises(UserError, match="factor"):
        Discounted(of=Steps(), factor=1.5)


def test_partial_goals_leave_the_rest_free():
    cost = bind(StateGoal(dims=(1,), scale=2.0), PROBE)
    assert float(cost(line((0.0, 0.0), (50.0, 8.0)), GOAL, NOTHING)) == pytest.approx(4.0)
    with pytest.raises(UserError, match="state of 2 numbers"):
        bind(StateGoal(dims=(2,)), PROBE)(line((0, 0)), GOAL, NOTHING)
    with pytest.raises(UserError, match="no probe"):
        bind(StateGoal(), Heads())


def test_keep_out_costs_inside_and_on_the_way():
    box = KeepOut(low=(1.0, -1.0), high=(3.0, 1.0), num_between=1)
    cost = bind(box, PROBE)
    assert float(cost(line((0.0, 0.0), (0.5, 0.0)), GOAL, NOTHING)) == 0.0
    assert float(cost(line((2.0, 0.0), (9.0, 9.0)), GOAL, NOTHING)) == pytest.approx(2.0)
    assert float(cost(line((0.0, 0.0), (4.0, 0.0)), GOAL, NOTHING)) == pytest.approx(2.0)
    wider = bind(replace(box, margin=1.0), PROBE)
    assert float(wider(line((0.5, 0.0), (9.0, 9.0)), GOAL, NOTHING)) == pytest.approx(1.25)
    assert not needs_goal(box)


def test_keep_out_gradients_lead_out():
    cost = bind(KeepOut(low=(1.0, -9.0), high=(3.0, 9.0)), PROBE)
    tokens = torch.tensor([1.2, 0.0]).reshape(1, 1, 1, 1, 2).requires_grad_()
    cost(Latent(tokens=tokens), GOAL, actions([0.0])).sum().backward()
    assert tokens.grad is not None
    assert float(tokens.grad.flatten()[0]) > 0.0  # the near edge is on the left


@pytest.mark.parametrize("low", [(5.0, 0.0), (1.0,)])
def test_boxes_that_hold_nothing_are_refused(low):
    with pytest.raises(UserError, match="keep_out"):
        KeepOut(low=low, high=(3.0, 1.0))


def test_a_crop_compares_the_tokens_inside():
    crop = bind(Crop(right=0.5), Heads(grid=(2, 2)))
    seen = Latent(tokens=torch.tensor([1.0, 7.0, 3.0, 9.0]).reshape(1, 1, 1, 4, 1))
    goal = Latent(tokens=torch.zeros(1, 4, 1))
    assert float(crop(seen, goal, actions([0.0]))) == pytest.approx((1 + 9) / 2)
    with pytest.raises(UserError, match="grid of tokens"):
        bind(Crop(right=0.5), Heads(grid=(1, 1)))
    with pytest.raises(UserError, match="no token"):
        bind(Crop(right=0.1), Heads(grid=(2, 2)))


def test_places_are_passed_in_order():
    def seen(x: float) -> Observation:
        return Observation(pixels=torch.full((1, 3, 1, 1), int(x), dtype=torch.uint8))

    heads = Heads(encode=lambda obs: place(float(obs.pixels[0, 0, 0, 0]), 0.0))
    cost = bind(InSequence((seen(1), seen(2))), heads)
    goal, acted = place(3.0, 0.0), actions([0.0], [0.0], [0.0])
    assert float(cost(line((1, 0), (2, 0), (3, 0)), goal, acted)) == 0.0
    assert float(cost(line((2, 0), (1, 0), (3, 0)), goal, acted)) == pytest.approx(0.5)
    with pytest.raises(UserError, match="places to pass"):
        bind(InSequence(), heads)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("goal", LatentDistance()),
        ("latent_distance(metric='l1')", LatentDistance(metric="l1")),
        ("goal + 0.2*action_size", LatentDistance() + 0.2 * ActionSize()),
        ("0.5 * (goal - action_size / 4)", 0.5 * LatentDistance() - 0.125 * ActionSize()),
        ("-reward(discount=0.9)", -Reward(discount=0.9)),
        ("discounted(goal, factor=0.5)", Discounted(of=LatentDistance(), factor=0.5)),
        (
            "goal + 10*keep_out(low=(1, 2), high=(3, 4))",
            LatentDistance() + 10 * KeepOut(low=(1.0, 2.0), high=(3.0, 4.0)),
        ),
        ("goal + 2*own_parts:LastDistance", None),
    ],
)
def test_texts_are_read(text, expected):
    found = parse_objective(text)
    if expected is None:
        assert isinstance(found, WeightedSum)
        assert [type(one).__name__ for one in found.terms] == ["LatentDistance", "LastDistance"]
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("goal +", "cannot be read"),
        ("gaol", "did you mean 'goal'"),
        ("goal * action_size", "in the objective"),
        ("goal + 3", "in the objective"),
        ("3", "is a number"),
        ("goal - goal", "cancel out"),
        ("goal(metric=2)", "metric"),
        ("goal(color=2)", "no setting 'color'"),
        ("keep_out", "needs low, high"),
        ("reward(head=3)", "no setting 'head'"),
        ("__import__('os').system('true')", "in the objective"),
        ("goal / 0", "in the objective"),
        ("goal(2)", "settings by name"),
    ],
)
def test_texts_that_say_nothing_are_refused(text, match):
    with pytest.raises(UserError, match=match):
        parse_objective(text)


def test_composed_objectives_survive_a_file():
    objective = LatentDistance() + 0.2 * Discounted(of=Reward(folder="speed"), factor=0.5)
    before = replace(WALL, objective=objective)
    again = experiment_from_json(experiment_to_json(before), source="experiment.json")
    assert again == before
    described = describe(objective).to_json()
    assert [one["type"] for one in described["terms"]] == ["LatentDistance", "Discounted"]
    assert described["terms"][1]["of"]["type"] == "Reward"


def test_heads_are_not_written_into_files():
    held = replace(WALL, objective=Reward(lambda *_: None))  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="part of a model"):
        experiment_to_json(held)
    data = experiment_to_json(replace(WALL, objective=Reward()))
    data["objective"]["head"] = "x"  # pyright: ignore[reportIndexIssue, reportCallIssue, reportArgumentType]
    with pytest.raises(UserError, match="no file holds"):
        experiment_from_json(data, source="experiment.json")


def test_without_a_goal_only_what_needs_none_plans():
    assert no_goal(ActionSize(), CEM()).tokens.numel() == 0
    with pytest.raises(UserError, match="needs a goal"):
        no_goal(LatentDistance() + ActionSize(), CEM())
    with pytest.raises(UserError, match="num_proposals"):
        no_goal(ActionSize(), find_preset("direct", frameskip=5))


@pytest.mark.parametrize(
    "planner",
    [CEM(num_samples=8, num_elites=2, num_iterations=2), GradientDescent(num_iterations=2)],
)
def test_agents_plan_without_a_goal_and_with_sums(planner):
    """The head is the first number of the latent: a goal is not looked at."""
    wall = jepawm.load("wall")
    env = wall.make_env()
    obs = env.reset(env.sample_tasks(0, num_tasks=2))

    def head(predicted, acted):
        value = predicted.tokens[..., 0].mean(-1)
        return value, torch.zeros_like(value)

    agent = wall.agent(planner=planner, objective=Reward(head) + 0.01 * Smoothness())
    agent.reset(None, 6)
    first = agent.act(obs)
    assert first.shape == (2, 10)
    agent.reset(env.goal_observation(), 6)
    agent.reseed(0)
    torch.testing.assert_close(agent.act(obs), first)
    plain = wall.agent(planner=planner)
    with pytest.raises(UserError, match="needs a goal"):
        plain.reset(None)


def test_a_changed_weight_changes_the_plan_as_expected():
    """On latents that add actions up, the least of (x - 3)^2 + w x^2 is at 3 / (1 + w)."""

    def plan(weight: float) -> float:
        cost = weighted_sum((1.0, LatentDistance()), (weight, ActionSize()))

        def of(acted: torch.Tensor) -> torch.Tensor:
            places = Latent(tokens=acted.cumsum(2)[:, :, :, None])
            return cost(places, Latent(tokens=torch.tensor([[[3.0]]])), acted)

        planner = GradientDescent(num_iterations=200, learning_rate=0.5)
        generator = torch.Generator().manual_seed(0)
        found = planner.plan(of, torch.zeros(1, 1, 1), bounds=None, generator=generator)
        return float(found.actions)

    assert plan(0.0) == pytest.approx(3.0, abs=0.05)
    assert plan(1.0) == pytest.approx(1.5, abs=0.05)
    assert plan(3.0) == pytest.approx(0.75, abs=0.05)
