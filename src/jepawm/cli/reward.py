"""`jepawm train-reward`: a reward to plan on, in place of a goal."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from jepawm.cli.choices import choose_device, trust_source
from jepawm.cli.output import render_fields, to_json
from jepawm.cli.parsing import Command, Outcome, first_name, parse
from jepawm.cli.parts import PartOptions
from jepawm.rewards import RewardConfig


@dataclass(frozen=True, kw_only=True)
class RewardOptions(PartOptions):
    """Options of `train-reward` besides how it is trained."""

    rewards: str | None = None
    """Name of the reward to learn: one that the environment knows of its states."""
    success: str | None = None
    """Name of labels from 0 to 1 to learn in its place; what is predicted is then a chance."""
    preferences: Path | None = None
    """File of preferences between pieces of episodes to learn from in its place, a JSON object a line."""
    folder: str = "reward"
    """Name of the reward's folder in the run, as in reward(folder='speed')."""
    horizon: int | None = None
    """Action blocks of a piece of experience; the longest of the run's protocols if not given."""


def prepare_train_reward(argv: list[str]) -> Command:
    """Parse `jepawm train-reward RUN`."""
    trust_source(first_name(argv, known=[]), trust="--trust" in argv)
    options, parts = parse(
        RewardOptions,
        argv,
        verb="train-reward",
        description="Train a reward on the latents of a run, to plan on in place of a goal: `jepawm eval "
        "RUN --objective reward`.",
        parts={"": RewardConfig()},
    )

    def run() -> Outcome:
        from jepawm.files import data_root
        from jepawm.runs import RewardRules, RewardSource, train_reward_run

        trained = train_reward_run(
            options.source,
            cast(RewardConfig, parts[""]),
            learns_from=RewardSource(
                rewards=options.rewards, success=options.success, preferences=options.preferences
            ),
            rules=RewardRules(
                out=options.out,
                folder=options.folder,
                num_episodes=options.num_episodes,
                horizon=options.horizon,
                seed=options.seed,
            ),
            data_root=data_root(options.data_root),
            device=choose_device(options.device),
            resume=options.resume,
            overwrite=options.overwrite,
            processes=options.processes,
            encoder_weights=options.encoder_weights,
        )
        result = to_json(trained)
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)
