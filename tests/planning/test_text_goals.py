"""Goals in words: which objectives take them, how they are placed, what is refused."""

import pytest
import torch
from torch.nn.functional import normalize

import jepawm
from jepawm import CEM, ActionSize, GoalDistance, Reward, Terminal, Text, TextDistance, UserError
from jepawm.planning.binding import other_goal, takes_text
from jepawm.planning.presets import find_preset
from jepawm.planning.terms.composition import goal_kinds, weighted_sum
from jepawm.planning.terms.expression import parse_objective
from jepawm.planning.terms.heads import NO_HEADS
from jepawm.types import Latent

PLANNER = CEM(num_samples=8, num_elites=2, num_iterations=2)
TEXTS = {"right": [1.0, 0.0], "up": [0.0, 1.0]}


class Compass:
    """A map that puts a latent where its first two numbers point, and knows two texts."""

    def __call__(self, latents):
        return normalize(latents.tokens[..., 0, :2], dim=-1)

    def embed(self, texts):
        return torch.tensor([TEXTS[text] for text in texts])


COMPASS = TextDistance(Compass())


def placed(goal, objective, *, planner=PLANNER) -> Latent:
    return other_goal(goal, objective, planner=planner, bound=objective)


def predicted(*points: tuple[float, float]) -> Latent:
    """Return latents of one problem and one candidate."""
    return Latent(tokens=torch.tensor(points)[None, None, :, None])


def test_the_cost_is_one_minus_the_cosine_of_the_last_step():
    goal = placed(Text("right"), COMPASS)[:1]
    actions = torch.zeros(1, 1, 2, 2)
    away = predicted((3.0, 0.0), (0.0, 5.0))
    assert COMPASS(away, goal, actions).tolist() == [[1.0]]
    assert TextDistance(Compass(), reduction="sum")(away, goal, actions).tolist() == [[1.0]]
    back = predicted((-1.0, 0.0), (2.0, 0.0))
    assert COMPASS(back, goal, actions).tolist() == [[0.0]]
    assert TextDistance(Compass(), reduction="sum")(back, goal, actions).tolist() == [[2.0]]


def test_kinds_of_goals_are_those_of_the_terms_that_count():
    assert goal_kinds(COMPASS) == {"text"}
    assert goal_kinds(GoalDistance()) == {"picture"}
    assert goal_kinds(Reward() + ActionSize()) == set()
    assert goal_kinds(0.5 * Terminal(of=COMPASS) + ActionSize()) == {"text"}
    assert goal_kinds(COMPASS + GoalDistance()) == {"text", "picture"}
    assert goal_kinds(weighted_sum((1.0, COMPASS), (0.0, GoalDistance()))) == {"text"}
    assert takes_text(COMPASS + Reward())
    with pytest.raises(UserError, match="with a text and with a picture"):
        takes_text(COMPASS + GoalDistance())


def test_one_text_stands_for_any_number_and_several_for_as_many():
    one = placed(Text("up"), COMPASS)
    assert one[torch.tensor([5, 999])].tokens.tolist() == [[[0.0, 1.0]], [[0.0, 1.0]]]
    two = placed(Text(["up", "right"]), COMPASS + ActionSize())
    assert two.tokens.shape == (2, 1, 2)


def test_goals_of_the_wrong_kind_are_refused():
    with pytest.raises(UserError, match="compares with no text; choose TextDistance"):
        placed(Text("up"), GoalDistance())
    with pytest.raises(UserError, match=r"the goal is no text .there is none"):
        placed(None, COMPASS)
    with pytest.raises(UserError, match="num_proposals"):
        placed(Text("up"), COMPASS, planner=find_preset("direct", frameskip=5))


def test_an_agent_takes_texts_and_refuses_pictures():
    wall = jepawm.load("wall")
    env = wall.make_env()
    obs = env.reset(env.sample_tasks(0, num_tasks=2))
    agent = wall.agent(planner=PLANNER, objective=COMPASS + 0.01 * ActionSize())
    agent.reset(Text("up"), 6)
    assert agent.act(obs).shape == (2, 10)
    agent.reset(Text(["up", "right"]), 6)
    agent.act(obs)
    assert agent.last_plan is not None
    pixels = agent.imagined().tokens[:, -1, 0, :2]
    wanted = torch.tensor([TEXTS["up"], TEXTS["right"]])
    costs = 1 - (normalize(pixels, dim=-1) * wanted).sum(-1)
    costs = costs + 0.01 * agent.last_plan.actions.square().mean((-2, -1))
    torch.testing.assert_close(agent.last_plan.cost, costs)
    agent.reset(Text(["up", "right", "up"]), 6)
    with pytest.raises(UserError, match="3 goals for 2 observations"):
        agent.act(obs)
    with pytest.raises(UserError, match=r"no text .it is a Observation"):
        agent.reset(env.goal_observation(), 6)
    pictures = wall.agent(planner=PLANNER)
    with pytest.raises(UserError, match="compares with no text"):
        pictures.reset(Text("up"), 6)
    with pytest.raises(UserError, match="there is no map to texts at"):
        wall.agent(objective=TextDistance())


def test_the_command_line_writes_it_down():
    assert parse_objective("text(reduction='sum')") == TextDistance(reduction="sum")
    with pytest.raises(UserError, match="nobody gave one"):
        TextDistance().with_heads(NO_HEADS)
