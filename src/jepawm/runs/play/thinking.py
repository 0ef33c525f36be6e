"""Answer what the page asks: look at a task, plan it, execute it. Stateless, one question at a time."""

from collections.abc import Mapping
from dataclasses import replace
from threading import Lock
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.agent import PlanningAgent
from jepawm.contracts import Planner, Simulator
from jepawm.diagnosis.landscape import constant_actions
from jepawm.errors import UserError
from jepawm.evaluation.watching import Look, WatchedPlanner
from jepawm.hub.load import LoadedModel, bundled_names, load
from jepawm.planning.cem import CEM
from jepawm.planning.gradient import FAST, Adam, GradientDescent
from jepawm.planning.icem import ICEM
from jepawm.planning.mppi import MPPI
from jepawm.planning.objectives import LatentDistance
from jepawm.planning.presets import find_preset
from jepawm.planning.random_shooting import RandomShooting
from jepawm.protocol import Protocol
from jepawm.runs.play.messages import Ask
from jepawm.runs.play.pictures import STAGES, Stage, sheet
from jepawm.types import Context, Latent, Observation, Task, concatenate

_SHOWN_ITERATIONS, _SHOWN_CANDIDATES = 12, 24
_EXTENT = 2.5
Answer = dict[str, object]
"""What the page is told, plain JSON."""


class Player:
    """A model, its environment and what is shown of both."""

    def __init__(self, loaded: LoadedModel) -> None:
        """Build the environment of a model; models that cannot be shown are refused."""
        name = loaded.experiment.env
        if name not in STAGES:
            known = ", ".join(STAGES)
            raise UserError(
                f"{loaded.name} acts in {name}, which cannot be played (known: {known}); see it by "
                "`jepawm imagine`"
            )
        self.loaded = loaded
        self.stage: Stage = STAGES[name]
        self.decoder = loaded.require_decoder()
        if loaded.state_probe is None:
            raise UserError(
                f"{loaded.name} has no probe of states; train one by `jepawm train-decoder`"
            )
        self.probe = loaded.state_probe
        env = loaded.make_env()
        assert isinstance(env, Simulator)
        self.env = env
        self._lock = Lock()

    def about(self) -> Answer:
        """Return what the page needs to know of the model."""
        task = self.env.sample_tasks(7, num_tasks=1)[0]
        return {
            "env": self.loaded.experiment.env,
            "stage": self.stage.to_json(),
            "proposals": self.loaded.proposer is not None,
            "start": task.start,
            "goal": task.goal,
        }

    def answer(self, ask: Ask) -> Answer:
        """Answer one question; questions of several tabs wait for one another."""
        with self._lock, torch.no_grad():
            began = perf_counter()
            found = {"look": self._look, "plan": self._plan, "execute": self._execute}[ask.do](ask)
            return {**found, "do": ask.do, "seconds": round(perf_counter() - began, 4)}

    def _reset(self, ask: Ask) -> tuple[Observation, Observation]:
        width = self.env.state_dim
        if len(ask.start) != width or len(ask.goal) != width:
            raise UserError(f"states of {self.loaded.experiment.env} have {width} numbers")
        obs = self.env.reset([Task(start=ask.start, goal=ask.goal)])
        return obs, self.env.goal_observation()

    def _look(self, ask: Ask) -> Answer:
        obs, goal = self._reset(ask)
        both = concatenate([obs, goal], dim=0)
        seen = self._encode(both)
        return {
            **_real(obs, goal),
            "decoded": sheet(self.decoder.pixels(seen).numpy()),
            "read": self._places(seen),
        }

    def _plan(self, ask: Ask) -> Answer:
        obs, goal = self._reset(ask)
        agent, watched = self._agent(ask)
        agent.reset(goal, ask.horizon)
        began = perf_counter()
        agent.act(obs)
        seconds = perf_counter() - began
        plan = agent.last_plan
        assert plan is not None
        latents = agent.imagined()[0]  # [H+1]
        context = self._context(obs)
        found: Answer = {
            **_real(obs, goal),
            "plan_seconds": round(seconds, 4),
            "evaluated": sum(look.cost.numel() for look in watched.looks),
            "cost": _number(float(plan.cost[0])),
            "path": self._places(latents),
            "frames": sheet(self.decoder.pixels(latents).numpy()),
            "iterations": self._iterations(watched.looks, context),
        }
        if ask.landscape:
            found["landscape"] = self._landscape(ask.landscape, watched, like=plan.actions)
        return found

    def _execute(self, ask: Ask) -> Answer:
        obs, goal = self._reset(ask)
        real = _real(obs, goal)
        agent, watched = self._agent(ask)
        agent.reset(goal, ask.horizon)
        random = np.random.default_rng(ask.seed)
        skip = self.loaded.experiment.data.frameskip
        std = self.loaded.normalizer.action_std.numpy()[: self.env.action_dim]
        frames, states, imagined = [obs.pixels[0]], [self.env.states()[0]], []
        for step in range(ask.horizon):
            block = agent.act(obs).numpy()
            if step == 0 or ask.replan:
                imagined.append({"block": step, "path": self._places(agent.imagined()[0])})
            for action in np.split(block, skip, axis=1):
                noise = ask.noise * std * random.standard_normal(action.shape)
                obs = self.env.step(action + noise)
                states.append(self.env.states()[0])
            frames.append(obs.pixels[0])
        end = self.env.states()
        return {
            **real,
            "frames": sheet(torch.stack(frames).numpy()),
            "real_path": self.stage.places(np.stack(states)),
            "imagined": imagined,
            "success": bool(self.env.success()[0]),
            "distance": float(np.sqrt(self.env.goal_distance(end[:, None]))[0, 0]),
            "evaluated": sum(look.cost.numel() for look in watched.looks),
        }

    def _agent(self, ask: Ask) -> tuple[PlanningAgent, WatchedPlanner]:
        """Return an agent for a question, and its planner, which remembers the last plan."""
        experiment = self.loaded.experiment
        planner = WatchedPlanner(build_planner(ask, frameskip=experiment.data.frameskip))
        objective = experiment.objective
        if isinstance(objective, LatentDistance):
            objective = replace(objective, metric=ask.metric)
        agent = self.loaded.agent(
            protocol=self._protocol(ask), planner=planner, objective=objective, seed=ask.seed
        )
        return agent, planner

    def _protocol(self, ask: Ask) -> Protocol:
        first = self.loaded.experiment.protocols[0]
        steps = ask.horizon * first.frameskip
        executed = 1 if ask.replan else ask.horizon
        return replace(first, horizon=ask.horizon, num_action_steps=executed, max_env_steps=steps)

    def _iterations(self, looks: list[Look], context: Context) -> list[Answer]:
        """Return costs of every iteration, and of some the paths of the cheapest candidates."""
        shown = _spaced(len(looks), _SHOWN_ITERATIONS)
        kept = [self._cheapest(looks[index]) for index in shown]
        if not kept:
            return []
        plans = torch.cat([actions for actions, _ in kept])  # [N, H, A]
        rolled = self._rollout(context, plans)
        paths = self._places(rolled)
        found: list[Answer] = []
        first = 0
        for index, (actions, cost) in zip(shown, kept, strict=True):
            last = first + len(actions)
            found.append(
                {
                    "iteration": index,
                    "of": len(looks),
                    "costs": [_number(one) for one in cost.tolist()],
                    "paths": paths[first:last],
                }
            )
            first = last
        lowest = [_number(float(look.cost[0].nan_to_num(nan=torch.inf).min())) for look in looks]
        found[0]["history"] = lowest
        return found

    def _cheapest(self, look: Look) -> tuple[Tensor, Tensor]:
        """Return a look's cheapest candidates, half of those shown, then others; with their costs."""
        cost = look.cost[0].nan_to_num(nan=torch.inf)
        order = cost.argsort()
        half = _SHOWN_CANDIDATES // 2
        rest = order[half:]
        others = rest[_spaced(len(rest), _SHOWN_CANDIDATES - half)] if len(rest) else rest
        index = torch.cat([order[:half], others])
        return look.actions[0, index], cost[index]

    def _landscape(
        self, side: int, watched: WatchedPlanner, *, like: Float[Tensor, "1 H A"]
    ) -> Answer:
        """Return costs of plans that repeat one action, and where the planner's best ones were."""
        assert watched.cost is not None
        width = self.env.action_dim
        values = torch.linspace(-_EXTENT, _EXTENT, side)
        actions = constant_actions(like, values, width=width, directions=(0, 1))
        cost = watched.cost(actions)[0].view(side, side)
        best = [
            look.actions[0, int(look.cost[0].nan_to_num(nan=torch.inf).argmin())]
            for look in watched.looks
        ]
        route = [one.unflatten(-1, (-1, width)).mean((0, 1))[:2].tolist() for one in best]
        return {
            "extent": _EXTENT,
            "cost": [[_number(one) for one in row] for row in cost.tolist()],
            "route": [[round(x, 3), round(y, 3)] for x, y in route],
        }

    def _context(self, obs: Observation) -> Context:
        latents = self._encode(obs)[:, None]
        block = self.loaded.model.action_dim
        return Context(latents=latents, actions=torch.zeros(1, 0, block))

    def _rollout(self, context: Context, plans: Float[Tensor, "N H A"]) -> Latent:
        """Return latents `[N, H+1]` of plans from one context, the observed one first."""
        many = context.latents.map(lambda part: part.expand(len(plans), *part.shape[1:]))
        whole = Context(latents=many, actions=context.actions.expand(len(plans), -1, -1))
        window = self.loaded.experiment.agent.window
        rolled = self.loaded.model.rollout(whole, plans, window=window)
        return concatenate([many, rolled], dim=1)

    def _encode(self, obs: Observation) -> Latent:
        return self.loaded.model.encode(self.loaded.normalizer.observation(obs))

    def _places(self, latents: Latent) -> list[object]:
        return self.stage.places(self.probe(latents).double().numpy())


def _real(obs: Observation, goal: Observation) -> Answer:
    """Return the real pictures of start and goal."""
    return {"real": sheet(torch.cat([obs.pixels, goal.pixels]).numpy())}


def build_planner(ask: Ask, *, frameskip: int) -> Planner:
    """Return the planner that a question names."""
    limits = {"num_iterations": ask.iterations, "time_budget_s": ask.budget or None}
    few = min(ask.samples, 64)
    elites = max(2, ask.samples // 10)
    if ask.planner in ("direct", "propose"):
        return find_preset(ask.planner, frameskip=frameskip)
    if ask.planner == "fast":
        return replace(FAST, time_budget_s=ask.budget or None)
    if ask.planner == "gd":
        return GradientDescent(num_starts=1, **limits)
    if ask.planner == "adam":
        return Adam(num_starts=few, **limits)
    if ask.planner == "cem":
        return CEM(num_samples=ask.samples, num_elites=elites, **limits)
    if ask.planner == "icem":
        return ICEM(num_samples=ask.samples, num_elites=elites, action_repeat=frameskip, **limits)
    if ask.planner == "mppi":
        return MPPI(num_samples=ask.samples, **limits)
    return RandomShooting(num_samples=ask.samples, **limits)


def open_players(source: str) -> "Players":
    """Load the model of the page, and name the bundled ones that the tour needs."""
    known = bundled_names()
    return Players(Player(load(source)), {name: name for name in STAGES if name in known})


class Players:
    """The models that the page can show, each loaded when it is first asked for."""

    def __init__(self, first: Player, others: Mapping[str, str]) -> None:
        """Take the model that the page begins with, and where others come from, by name."""
        self._players = {first.loaded.name: first}
        self._others = dict(others)
        self._lock = Lock()

    @property
    def names(self) -> list[str]:
        """Return the names that may be asked for, the first one first."""
        return list(dict.fromkeys([*self._players, *self._others]))

    def find(self, name: str) -> Player:
        """Return a model by name."""
        with self._lock:
            if name in self._players:
                return self._players[name]
            if name not in self._others:
                raise UserError("this model is not on the page")
            player = Player(load(self._others[name]))
            self._players[name] = player
            return player

    def answer(self, ask: Ask) -> Answer:
        """Answer one question."""
        return self.find(ask.model).answer(ask)


def _spaced(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` indices, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(one * (count - 1) / (most - 1)) for one in range(most)})


def _number(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


__all__ = ["Answer", "Player", "Players", "build_planner", "open_players"]
