"""The data that the released models were trained on: statistics, and how their authors plan."""

from collections.abc import Mapping
from dataclasses import dataclass

from jepawm.normalizer import Normalizer
from jepawm.planning.cem import CEM
from jepawm.protocol import Protocol


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Numbers that a model is bound to by its training data.

    Statistics are those of one environment step: actions and proprioception as they are recorded.
    """

    action_mean: tuple[float, ...]
    """Mean of an action `[a]`."""
    action_std: tuple[float, ...]
    """Standard deviation of an action `[a]`."""
    proprio_mean: tuple[float, ...]
    """Mean of the proprioception `[P]`."""
    proprio_std: tuple[float, ...]
    """Standard deviation of the proprioception `[P]`."""
    env: str
    """Environment to plan in; DROID has none here."""
    protocol: Protocol = Protocol(name="paper")
    """How the paper evaluates."""
    planner: CEM = CEM()
    """Planner of the paper."""

    def normalizer(self) -> Normalizer:
        """Return the statistics as a normaliser."""
        return Normalizer.from_statistics(
            action_mean=self.action_mean,
            action_std=self.action_std,
            proprio_mean=self.proprio_mean,
            proprio_std=self.proprio_std,
        )


DATASETS: Mapping[str, Dataset] = {
    "metaworld": Dataset(
        env="metaworld_reach",
        action_mean=(
            0.005723577458411455,
            0.15735651552677155,
            -0.1396457850933075,
            0.1998193860054016,
        ),
        action_std=(0.7359239459037781, 0.73408043384552, 0.7182977199554443, 0.743205726146698),
        proprio_mean=(
            -0.0029392109718173742,
            0.6544238924980164,
            0.15410053730010986,
            0.6402314901351929,
        ),
        proprio_std=(
            0.10431358963251114,
            0.11230525374412537,
            0.07981759309768677,
            0.26138949394226074,
        ),
        protocol=Protocol(
            name="paper",
            num_action_steps=3,
            max_env_steps=100,
            oracle_samples=64,
            oracle_iterations=8,
        ),
        planner=CEM(num_iterations=15),
    ),
    "pusht": Dataset(
        env="pusht",
        action_mean=(-0.0087, 0.0068),
        action_std=(0.2019, 0.2002),
        proprio_mean=(236.6155, 264.5674, -2.93032027, 2.54307914),
        proprio_std=(101.1202, 87.0112, 74.84556075, 74.14009094),
    ),
    "pointmaze": Dataset(
        env="pointmaze",
        action_mean=(7.821338658686727e-05, 0.0006003659800626338),
        action_std=(0.5769129991531372, 0.577587902545929),
        proprio_mean=(
            1.8130563497543335,
            1.9377127885818481,
            -0.0039275349117815495,
            -0.019777977839112282,
        ),
        proprio_std=(
            1.0055010318756104,
            0.9630089402198792,
            1.6802769899368286,
            1.9319307804107666,
        ),
    ),
    "wall": Dataset(
        env="wall",
        action_mean=(-0.005564616061747074, 0.013197818771004677),
        action_std=(0.752332866191864, 0.7466897964477539),
        proprio_mean=(31.89451026916504, 31.81402015686035),
        proprio_std=(17.663522720336914, 17.27516746520996),
    ),
    "droid": Dataset(
        env="droid",
        action_mean=(0.0,) * 7,
        action_std=(1.0,) * 7,
        proprio_mean=(0.0,) * 7,
        proprio_std=(1.0,) * 7,
        protocol=Protocol(
            name="paper", horizon=3, num_action_steps=3, frameskip=1, max_env_steps=3
        ),
        planner=CEM(num_iterations=15, init_std=0.1),
    ),
}
"""Data sets by name; DROID is not normalised."""
