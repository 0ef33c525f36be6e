"""The agent on a point mass that its world model knows exactly."""

from dataclasses import replace

import pytest
import torch

from jepawm.agent import AgentConfig, PlanningAgent, RecedingHorizon, plan_length
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer
from jepawm.planning.cem import CEM
from jepawm.planning.gradient import GradientDescent
from jepawm.planning.objectives import LatentDistance
from jepawm.protocol import Protocol
from jepawm.types import Latent, Observation, Plan

FRAMESKIP = 2
NORMALIZER = Normalizer.from_statistics(action_mean=[0.1, -0.2], action_std=[0.5, 2.0])


class PointMass:
    """A world model whose latent is the position; a block holds two normalised displacements."""

    window = 2

    def __init__(self) -> None:
        self.encoded = 0
        self.contexts: list = []
        self.grad_modes: list[bool] = []

    def encode(self, obs):
        self.encoded += 1
        return Latent(tokens=obs.proprio.unsqueeze(-2))

    def predict(self, latents, actions):
        raise NotImplementedError

    def rollout(self, context, actions, *, window=None):
        self.contexts.append(context)
        self.grad_modes.append(torch.is_grad_enabled())
        moves = NORMALIZER.unnormalize_action(actions).unflatten(-1, (FRAMESKIP, 2)).sum(-2)
        return Latent(tokens=context.latents.tokens[:, -1:] + moves.cumsum(1).unsqueeze(-2))


def _observe(position: torch.Tensor) -> Observation:
    pixels = torch.zeros(len(position), 3, 2, 2, dtype=torch.uint8)
    return Observation(pixels=pixels, proprio=position)


PROTOCOL = Protocol(name="test", frameskip=FRAMESKIP)
ONE_FRAME = AgentConfig(window=1)


def _agent(model=None, *, config=ONE_FRAME, **fields) -> PlanningAgent:
    rules = {name: fields.pop(name) for name in ("horizon", "num_action_steps") if name in fields}
    settings = {
        "objective": LatentDistance(),
        "planner": CEM(num_samples=100, num_iterations=12),
        "normalizer": NORMALIZER,
        "protocol": replace(PROTOCOL, **rules),
    }
    return PlanningAgent(model or PointMass(), config=config, **(settings | fields))


GOAL = torch.tensor([[6.0, -3.0], [-4.0, 8.0], [0.0, 5.0]])


def _run(agent, num_steps: int, *, announced: int | None) -> torch.Tensor:
    """Return the distance to the goal `[3]` after an episode from the origin."""
    position = torch.zeros(3, 2)
    agent.reset(_observe(GOAL), announced)
    for _ in range(num_steps):
        block = agent.act(_observe(position))
        position = position + block.unflatten(-1, (FRAMESKIP, 2)).sum(-2)
    return (position - GOAL).norm(dim=-1)


def test_open_loop_plan_reaches_the_goal():
    assert (_run(_agent(), 6, announced=6) < 0.2).all()


def test_replanning_reaches_the_goal_only_with_the_shortened_horizon():
    shortened = _run(_agent(num_action_steps=1), 6, announced=6)
    fixed = _run(_agent(num_action_steps=1), 6, announced=None)
    assert (shortened < 0.2).all()
    assert fixed.mean() > 1.0
    assert fixed.mean() > 10 * shortened.mean()


@pytest.mark.parametrize(
    ("horizon", "left", "expected"), [(6, None, 6), (6, 9, 6), (6, 4, 4), (1, 1, 1)]
)
def test_plan_length(horizon, left, expected):
    assert plan_length(horizon, left) == expected


def test_plans_shorten_to_the_steps_left():
    agent = _agent(num_action_steps=4)
    lengths = []
    agent.reset(_observe(GOAL), 9)
    for _ in range(9):
        agent.act(_observe(torch.zeros(3, 2)))
        assert agent.last_plan is not None
        lengths.append(agent.last_plan.actions.shape[1])
    assert lengths == [6, 6, 6, 6, 5, 5, 5, 5, 1]


def test_imagined_latents_start_at_the_observation_and_follow_the_plan():
    agent = _agent()
    agent.reset(_observe(GOAL), 6)
    start = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    agent.act(_observe(start))
    imagined = agent.imagined().tokens[:, :, 0]
    assert imagined.shape == (3, 7, 2)
    torch.testing.assert_close(imagined[:, 0], start)
    torch.testing.assert_close(imagined[:, -1], GOAL, atol=0.3, rtol=0)


def test_context_holds_the_last_window_of_latents_and_actions():
    model = PointMass()
    agent = _agent(model, config=AgentConfig(), num_action_steps=1)
    agent.reset(_observe(GOAL), 3)
    positions = [torch.full((3, 2), float(step)) for step in range(3)]
    blocks = [agent.act(_observe(position)) for position in positions]
    # A plan's own rollout, after those of its candidates.
    chosen = [context for context in model.contexts if context.actions.shape[0] == 3]
    first, last = chosen[0], chosen[-1]
    assert first.latents.tokens.shape[:2] == (3, 1)
    assert first.actions.shape == (3, 0, 4)
    seen = last.latents.tokens[:, :, 0]
    torch.testing.assert_close(seen, torch.stack(positions[1:], dim=1))
    torch.testing.assert_close(last.actions[:, 0], NORMALIZER.normalize_action(blocks[1]))


def test_encodes_only_what_a_plan_will_see():
    model = PointMass()
    _run(_agent(model), 6, announced=6)
    assert model.encoded == 2  # the goal and the start of the only plan
    model = PointMass()
    _run(_agent(model, config=AgentConfig(), num_action_steps=3), 6, announced=6)
    assert model.encoded == 4  # goal, start, and the two before the second plan


def test_warm_start_begins_at_the_rest_of_the_last_plan():
    class Echo:
        """A planner that returns its guess plus one."""

        needs_gradients = False

        def plan(self, cost, init, *, bounds, generator):
            self.init = init
            actions = init + torch.arange(1.0, init.shape[1] + 1)[:, None]
            return Plan(
                actions=actions, cost=cost(actions[:, None])[:, 0], history=torch.zeros(1, 3)
            )

    for warm, expected in ((True, [3.0, 4.0, 0.0]), (False, [0.0, 0.0, 0.0])):
        planner = Echo()
        config = AgentConfig(window=1, warm_start=warm)
        agent = _agent(planner=planner, horizon=4, num_action_steps=2, config=config)
        agent.reset(_observe(GOAL), 5)
        for _ in range(3):
            agent.act(_observe(torch.zeros(3, 2)))
        assert planner.init[0, :, 0].tolist() == expected  # 3 steps are left


def test_bounds_hold_for_normalised_actions():
    agent = _agent(config=AgentConfig(window=1, action_bounds=(0.5,)))
    agent.reset(_observe(GOAL), 6)
    block = NORMALIZER.normalize_action(agent.act(_observe(torch.zeros(3, 2))))
    assert block.abs().max() <= 0.5 + 1e-5


def test_plans_without_gradients():
    model = PointMass()
    _run(_agent(model), 1, announced=6)
    assert model.grad_modes
    assert not any(model.grad_modes)


def test_same_seed_same_actions():
    agent = _agent(seed=3)
    first, second = _run(agent, 6, announced=6), _run(_agent(seed=3), 6, announced=6)
    assert torch.equal(first, second)
    assert not torch.equal(first, _run(agent, 6, announced=6))  # its random numbers go on
    agent.reseed(3)
    assert torch.equal(first, _run(agent, 6, announced=6))


def test_dropped_candidates_are_counted_per_episode():
    class Dropping:
        needs_gradients = False

        def plan(self, cost, init, *, bounds, generator):
            zeros = torch.zeros(3)
            return Plan(actions=init, cost=zeros, history=zeros[None], num_dropped=2)

    agent = _agent(planner=Dropping(), num_action_steps=1)
    _run(agent, 3, announced=3)
    assert agent.num_dropped == 6
    agent.reset(_observe(GOAL), 3)
    assert agent.num_dropped == 0


def test_misuse_is_explained():
    agent = _agent()
    with pytest.raises(UserError, match="no goal"):
        agent.act(_observe(torch.zeros(3, 2)))
    with pytest.raises(UserError, match="imagined nothing"):
        agent.imagined()
    agent.reset(_observe(GOAL), 1)
    agent.act(_observe(torch.zeros(3, 2)))
    with pytest.raises(UserError, match="episode is over"):
        agent.act(_observe(torch.zeros(3, 2)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"config": AgentConfig(window=3)}, "window = 3; the model allows 1 to 2"),
        ({"config": AgentConfig(window=0)}, "window = 0"),
        ({"objective": LatentDistance(step_weight=5.0)}, r"objective\.step_weight = 5\.0 needs"),
        ({"horizon": 0}, r"protocol\.horizon = 0"),
        (
            {"num_action_steps": 7},
            r"protocol\.num_action_steps = 7 is more than protocol\.horizon = 6",
        ),
        ({"num_action_steps": 0}, "num_action_steps = 0"),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        _agent(**fields)


def test_receding_horizon_knows_when_no_plan_follows():
    class Zeros:
        needs_gradients = False

        def plan(self, cost, init, *, bounds, generator):
            return Plan(actions=init, cost=torch.zeros(1), history=torch.zeros(1, 1))

    replanning = RecedingHorizon(
        Zeros(),
        protocol=Protocol(name="x", horizon=3, num_action_steps=2, frameskip=1),
        config=AgentConfig(),
        normalizer=Normalizer.from_statistics(action_mean=[0.0], action_std=[1.0]),
    )
    replanning.reset(3)
    waits = []
    for _ in range(3):
        if replanning.steps_to_plan == 0:
            replanning.plan(lambda actions: actions.sum((-2, -1)), like=torch.zeros(1, 0, 1))
        replanning.pop()
        waits.append(replanning.steps_to_plan)
    assert waits == [1, 0, 0]
    replanning.reset(2)
    replanning.plan(lambda actions: actions.sum((-2, -1)), like=torch.zeros(1, 0, 1))
    assert replanning.steps_to_plan == float("inf")


def test_gradients_flow_through_model_and_objective_though_acting_needs_none():
    agent = _agent(planner=GradientDescent(num_iterations=60, learning_rate=1.0))
    assert (_run(agent, 6, announced=6) < 0.2).all()
    assert agent.last_plan is not None
    assert not agent.last_plan.actions.requires_grad
    assert not agent.imagined().tokens.requires_grad


def test_action_bounds_hold_for_every_action_of_a_block():
    low, high = AgentConfig(action_bounds=(0.1, 0.7)).bounds(action_dim=2, frameskip=3)
    torch.testing.assert_close(high, torch.tensor([0.1, 0.7, 0.1, 0.7, 0.1, 0.7]))
    assert torch.equal(low, -high)
    _, same = AgentConfig(action_bounds=(0.5,)).bounds(action_dim=2, frameskip=3)
    assert same.tolist() == [0.5] * 6
    assert AgentConfig().bounds(action_dim=2, frameskip=3) is None


def test_bad_action_bounds_are_refused():
    with pytest.raises(UserError, match=r"agent\.action_bounds = \(1\.0, 0\.0\)"):
        AgentConfig(action_bounds=(1.0, 0.0))
    with pytest.raises(UserError, match="has 3 numbers for actions of width 2"):
        AgentConfig(action_bounds=(1.0, 1.0, 1.0)).bounds(action_dim=2, frameskip=1)
