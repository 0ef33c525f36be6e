"""Fixtures and settings that all tests share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:  # at run time the package is imported after the shape checks are in place
    from jepawm.experiment import Experiment

PROJECT_ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs matrix tiles where the processor has none.

    What the kernels for tiles compute is tested everywhere in the precision of plain torch.
    """
    from jepawm.engine.kernels.library import has_tiles

    if not has_tiles():
        skipped = pytest.mark.skip(reason="this processor has no matrix tiles (AMX)")
        for item in items:
            if item.get_closest_marker("amx"):
                item.add_marker(skipped)


@pytest.fixture(scope="session", autouse=True)
def heed_signals() -> None:
    """Undo what `nohup` and `&` in a script leave to the tests and to the processes they start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def quick_cpu() -> None:
    """Flush subnormal numbers, which slow far-away Gaussians down; one thread unless asked.

    Processes that tests start have one as well: there are as many workers as cores already.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_flush_denormal(True)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Compute on one thread, as the processes do with which a module compares bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Return the root of the repository."""
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Return the folder of the golden files; skip where this machine has none.

    The folder is `$JEPAWM_GOLDEN`, else `../shared/golden` beside the repository.
    """
    if "JEPAWM_GOLDEN" in os.environ:
        folder = Path(os.environ["JEPAWM_GOLDEN"])
        if not folder.is_dir():
            pytest.fail(f"JEPAWM_GOLDEN={folder} is not a folder")
        return folder
    folder = PROJECT_ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("no golden files: set JEPAWM_GOLDEN to their folder")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real recordings `../shared/data`; skip where this machine has none."""
    folder = PROJECT_ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real recordings: there is no ../shared/data")
    return folder


@pytest.fixture(scope="session")
def tiny_experiment() -> "Experiment":
    """Return an experiment that trains in a second: 12 Wall episodes of small frames."""
    from jepawm.experiment import DataConfig, Experiment
    from jepawm.models.encoders import EncoderConfig
    from jepawm.models.predictor import PredictorConfig
    from jepawm.planning.cem import CEM
    from jepawm.training.losses import LossConfig
    from jepawm.training.optim import OptimConfig
    from jepawm.training.train import LoopConfig

    return Experiment(
        name="tiny",
        encoder=EncoderConfig(dim=8, image_size=16),
        predictor=PredictorConfig(window=2, depth=1, num_heads=2, visual_dim=16),
        loss=LossConfig(target_gradient="all", regularizer="vicreg", inverse_dynamics_weight=0.5),
        optim=OptimConfig(num_steps=12, batch_size=16, learning_rate=1e-3, warmup_steps=3),
        loop=LoopConfig(log_every=2, validate_every=6, save_every=5),
        data=DataConfig(num_episodes=12, episode_steps=30, image_size=16),
        planner=CEM(num_samples=8, num_elites=2, num_iterations=2),
    )


@pytest.fixture(scope="session")
def wall_data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for data sets; the first run that needs one collects it."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def tiny_run(
    tiny_experiment: "Experiment", wall_data_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a finished run; tests must not write into it."""
    from jepawm.runs import train_run

    out = tmp_path_factory.mktemp("runs") / "tiny"
    train_run(tiny_experiment, out=out, data_root=wall_data_root, device="cpu", resume=False)
    return out
