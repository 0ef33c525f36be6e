"""The models and plans that `jepawm bench planning` measures."""

from dataclasses import dataclass

from jepawm.errors import UserError
from jepawm.hub.released import released_experiment
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig


@dataclass(frozen=True, kw_only=True)
class Size:
    """A world model without its encoder, and the plan that is measured unless another is wanted."""

    predictor: PredictorConfig
    """The predictor."""
    proprio: ProprioConfig
    """How proprioception enters."""
    latent_dim: int
    """Width of the encoder's tokens."""
    side: int
    """Rows and columns of tokens."""
    action_dim: int
    """Width of an action block."""
    window: int
    """Latents that each prediction sees."""
    num_samples: int
    """Candidates of an iteration."""
    num_iterations: int
    """Iterations of a plan."""


@dataclass(frozen=True, kw_only=True)
class PlanJob:
    """What is planned."""

    num_samples: int
    """Candidates of an iteration."""
    num_iterations: int
    """Iterations of the cross-entropy method."""
    horizon: int
    """Steps of each candidate."""
    num_tasks: int
    """Problems in one batch."""
    window: int
    """Latents that each prediction sees."""
    context: int
    """Observed latents that a plan starts from."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UserError: if one is below what makes sense.
        """
        for name, least in (("num_samples", 2), ("num_iterations", 1), ("horizon", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{_option(name)} {getattr(self, name)}; give at least {least}")
        if self.num_tasks < 1 or self.window < 1 or not 1 <= self.context <= self.window:
            raise UserError(
                f"--tasks {self.num_tasks} --window {self.window} --context {self.context}; give "
                "at least 1, and a context of at most the window"
            )


def sizes() -> dict[str, Size]:
    """Return the sizes by name."""
    lewm = PredictorConfig(
        conditioning="adaln",
        positions="learned",
        window=3,
        projected=False,
        head_dim=64,
        hidden_dim=2048,
    )
    return {
        "lewm": Size(
            predictor=lewm,
            proprio=ProprioConfig(),
            latent_dim=192,
            side=1,
            action_dim=10,
            window=3,
            num_samples=300,
            num_iterations=30,
        ),
        "dino_wm": _released("dino_wm_wall", latent_dim=384, action_dim=10, window=3),
        "jepa_wm": _released("jepa_wm_metaworld", latent_dim=384, action_dim=20, window=2),
        "droid": _released("jepa_wm_droid", latent_dim=1024, action_dim=7, window=2, num_samples=8),
    }


def plan_job(
    size: Size,
    *,
    horizon: int,
    num_tasks: int,
    num_samples: int | None = None,
    num_iterations: int | None = None,
    window: int | None = None,
    context: int | None = None,
) -> PlanJob:
    """Return the job of a size; None takes the size's own number, a whole window of context.

    Raises:
        UserError: if a number makes no sense, or the model has no such window.
    """
    window = size.window if window is None else window
    if window > size.predictor.window:
        raise UserError(f"--window {window}; this size allows 1 to {size.predictor.window}")
    return PlanJob(
        num_samples=size.num_samples if num_samples is None else num_samples,
        num_iterations=size.num_iterations if num_iterations is None else num_iterations,
        horizon=horizon,
        num_tasks=num_tasks,
        window=window,
        context=window if context is None else context,
    )


def _released(
    name: str,
    *,
    latent_dim: int,
    action_dim: int,
    window: int,
    num_samples: int = 64,
) -> Size:
    experiment = released_experiment(name)
    return Size(
        predictor=experiment.predictor,
        proprio=experiment.proprio,
        latent_dim=latent_dim,
        side=16,
        action_dim=action_dim,
        window=window,
        num_samples=num_samples,
        num_iterations=1,
    )


def _option(field: str) -> str:
    return "--" + field.removeprefix("num_").replace("_", "-")
