"""What is measured, at full size and tiny, and how long each part may take."""

from collections.abc import Sequence
from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Plans:
    """Plans of one size."""

    size: str
    """A size of `jepawm bench planning`."""
    num_iterations: int
    """Iterations; the paper has 30."""
    eager: tuple[str, ...] = ("float32", "tf32", "bfloat16")
    """Precisions without compilation, in one process."""
    compiled: Sequence[tuple[str, str]] = ()
    """Precision and mode of torch.compile, each in a process of its own: they compile at a time."""
    num_samples: int = 300
    """Candidates, as in the paper."""
    horizon: int = 6
    """Steps of a candidate, as in the paper."""
    chunk: int
    """Candidates of a chunk, so that all chunks have one size and are compiled once."""
    max_memory_bytes: int
    """Room for just this chunk."""
    seconds: float
    """Time for all."""


@dataclass(frozen=True, kw_only=True)
class Peers:
    """One job of benchmarks/peers."""

    job: str
    """Its name."""
    budget: dict[str, int]
    """What of it is changed."""
    sides: Sequence[tuple[str, str]]
    """Side and mode of torch.compile."""
    precisions: tuple[str, ...] = ("float32", "tf32", "bfloat16")
    """Precisions, the same for all sides."""
    max_memory_bytes: int
    """Room for a chunk of our side; the peer rolls all candidates out at once."""
    seconds: float
    """Time for all."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A whole run."""

    plans: Sequence[Plans]
    """Sizes."""
    peers: Sequence[Peers]
    """Jobs beside a peer."""
    recipes: Sequence[str]
    """Recipes whose training steps are measured."""
    step_seconds: float
    """Time for the steps of one recipe in one precision."""
    tests: Sequence[str]
    """Tests to run, with all markers."""
    modes: Sequence[str]
    """Modes of torch.compile that the checks compare."""
    ready_seconds: float
    """Time for starting, compiling, checks and tests, which run beside each other."""
    tests_seconds: float
    """Time for the tests among them."""
    training_seconds: float
    """Time for training, the last part."""
    total_seconds: float
    """Time for all."""


_ALL = [(one, mode) for one in ("bfloat16", "tf32", "float32")
        for mode in ("reduce-overhead", "default")]  # fmt: skip
FULL = Scale(
    plans=(
        Plans(
            size="jepa_wm",
            num_iterations=30,
            compiled=_ALL,
            chunk=50,
            max_memory_bytes=3276 * 2**20,
            seconds=125.0,
        ),
        Plans(
            size="lewm",
            num_iterations=30,
            compiled=(("float32", "reduce-overhead"), ("bfloat16", "reduce-overhead")),
            chunk=300,
            max_memory_bytes=GIB,
            seconds=15.0,
        ),
        Plans(
            size="dino_wm",
            num_iterations=6,
            compiled=(("bfloat16", "reduce-overhead"),),
            chunk=25,
            max_memory_bytes=5734 * 2**20,
            seconds=30.0,
        ),
    ),
    peers=(
        Peers(
            job="lewm_paper_budget",
            budget={},
            sides=(("torch_world", "off"), ("jepawm", "off")),
            max_memory_bytes=GIB,
            seconds=15.0,
        ),
        Peers(
            job="dino_wm",
            budget={"num_samples": 300, "num_iterations": 1, "num_elites": 30},
            sides=(("torch_world", "off"), ("jepawm", "off")),
            max_memory_bytes=6 * GIB,
            seconds=30.0,
        ),
    ),
    recipes=("jepa_wm_wall", "jepa_wm_droid"),
    step_seconds=6.0,
    tests=("tests/engine", "tests/models/test_attention.py", "tests/models/test_predictor.py"),
    modes=("default", "reduce-overhead"),
    ready_seconds=185.0,
    tests_seconds=150.0,
    training_seconds=100.0,
    total_seconds=470.0,
)
TINY = Scale(
    plans=(
        Plans(
            size="jepa_wm",
            num_iterations=2,
            compiled=(("float32", "reduce-overhead"),),
            num_samples=20,
            horizon=2,
            chunk=20,
            max_memory_bytes=GIB,
            seconds=10.0,
        ),
    ),
    peers=(
        Peers(
            job="lewm",
            budget={"num_samples": 4, "num_iterations": 1, "num_elites": 2, "depth": 1},
            sides=(("jepawm", "off"),),
            precisions=("float32", "bfloat16"),
            max_memory_bytes=GIB,
            seconds=5.0,
        ),
    ),
    recipes=("jepa_wm_wall",),
    step_seconds=0.1,
    tests=("tests/engine/test_config.py",),
    modes=("default",),
    ready_seconds=240.0,
    tests_seconds=200.0,
    training_seconds=200.0,
    total_seconds=700.0,
)
"""Without the peer, which is in an environment of its own (benchmarks/peers/setup.sh)."""
