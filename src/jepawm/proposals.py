"""The settings of a proposer and of its training; free of torch, so that help is quick."""

from dataclasses import dataclass

from jepawm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ProposerConfig:
    """Sizes of a proposer."""

    num_plans: int = 4
    """Codes, and so plans for each problem."""
    window: int = 1
    """Observed latents that it looks at; the first one is repeated where there are fewer."""
    width: int = 128
    """Width of its layers."""
    depth: int = 3
    """Residual layers."""
    num_queries: int = 4
    """Places that it looks at where latents have more than one token."""

    def __post_init__(self) -> None:
        """Refuse sizes that are out of range."""
        for name, most in _MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise UserError(f"proposer.{name} = {getattr(self, name)}; give 1 to {most}")


_MOST = {"num_plans": 1024, "window": 64, "width": 8192, "depth": 64, "num_queries": 256}


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """How the preset `propose` treats the plans of a proposer; chosen on validation tasks."""

    num_proposals: int = 4
    """Plans that the world model evaluates, at most as many as there are codes."""
    num_refined: int = 2
    """Plans, the cheapest ones, that descend from where they are; 0: none."""
    num_iterations: int = 20
    """Gradient steps of a descent."""
    refine_above: float = 0.5
    """Part of the cost of the mean action above which a problem is refined; 0: always."""
    poor_above: float = 1.0
    """Part of the cost of the mean action above which a problem is searched."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        for name, least in (("num_proposals", 1), ("num_refined", 0), ("num_iterations", 1)):
            if getattr(self, name) < least:
                raise UserError(f"verify.{name} = {getattr(self, name)}; give at least {least}")
        if self.num_refined > self.num_proposals:
            raise UserError(
                f"verify.num_refined = {self.num_refined} is more than verify.num_proposals = "
                f"{self.num_proposals}; refine fewer or evaluate more"
            )
        if not 0.0 <= self.refine_above < float("inf"):
            raise UserError(f"verify.refine_above = {self.refine_above}; give 0 or more")
        if not 0.0 < self.poor_above < float("inf"):
            raise UserError(f"verify.poor_above = {self.poor_above}; give more than 0")


@dataclass(frozen=True, kw_only=True)
class ProposalConfig:
    """What a proposer learns from, and what is done with its plans."""

    proposer: ProposerConfig = ProposerConfig()
    """The network."""
    verify: VerifyConfig = VerifyConfig()
    """What the preset `propose` does with its plans."""
    num_steps: int = 1000
    """Optimiser steps; 0: a recipe without a proposer."""
    batch_size: int = 128
    """Problems per step."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW; it falls to 0 along half a cosine."""
    shorter: float = 0.25
    """Part of the steps that plan the rest of a plan, from where its first blocks lead to."""
    nearer: float = 0.15
    """Part of the goals that the data reached sooner than the plan ends: what replanning meets."""
    curriculum: float = 0.0
    """Part of the steps in which the longest plans grow from 1 block to all."""
    other_goals: float = 0.5
    """Part of the goals that are taken from other episodes, where nobody has gone."""
    losers: float = 0.5
    """Part of the gradient that all plans of a problem share; the cheapest one gets the rest."""
    rating_weight: float = 0.1
    """Weight of the squared error of the ratings."""
    action_weight: float = 0.01
    """Weight of the mean squared action: a pull towards the mean of the data."""
    replanning_weight: float = 0.5
    """Weight of the cost of replanning at every block by the plan that is rated best."""
    hindsight_weight: float = 0.0
    """Weight of the distance to what the data did on the way to its own later frames."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        for name, least in (("num_steps", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise UserError(f"proposals.{name} = {getattr(self, name)}; give at least {least}")
        for name in ("shorter", "nearer", "curriculum", "other_goals", "losers"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"proposals.{name} = {getattr(self, name)}; give 0 to 1")
        for name in (
            "learning_rate",
            "rating_weight",
            "action_weight",
            "replanning_weight",
            "hindsight_weight",
        ):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise UserError(f"proposals.{name} = {getattr(self, name)}; give 0 or more")


NO_PROPOSALS = ProposalConfig(num_steps=0)
"""What a recipe without a proposer has."""
