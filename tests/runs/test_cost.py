"""`jepawm train R --dry-run`: its figures follow from shapes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jepawm.build import build_model
from jepawm.cli import main
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.models.frozen.encoder import FrozenEncoderConfig
from jepawm.proposals import ProposalConfig, ProposerConfig
from jepawm.runs.cost import dry_run, synthetic_batch
from jepawm.runs.cost_figures import render_dry_run
from jepawm.training.cost import time_step
from jepawm.training.losses import Learner, LossConfig
from jepawm.training.optim import build_optimizer


@pytest.fixture
def run(tiny_experiment: Experiment, tmp_path: Path):
    """Return a function that runs the tiny experiment dry, changed by keywords."""

    def dry(*, num_windows: int = 4, num_devices: int = 1, tflops=None, **changes):
        return dry_run(
            replace(tiny_experiment, **changes),
            data_root=tmp_path,
            device="cpu",
            num_windows=num_windows,
            num_devices=num_devices,
            tflops=tflops,
        )

    return dry


def test_what_is_linear_in_the_batch_is_multiplied(run):
    few, whole = run(num_windows=4), run(num_windows=100)
    assert (few.measured.windows, whole.measured.windows) == (4, 16)
    assert few.gflop_per_step == pytest.approx(whole.gflop_per_step, rel=1e-3)
    assert few.memory["activations"] == pytest.approx(whole.memory["activations"], rel=0.05)


def test_memory_of_weights_and_moments(run, tiny_experiment: Experiment):
    result = run()
    model = build_model(tiny_experiment, action_dim=2, proprio_dim=2)
    trained = sum(parameter.numel() for parameter in model.parameters())
    assert result.parameters["total"] == trained
    heads = result.memory["weights"] - 4 * trained
    assert heads > 0  # the inverse dynamics is trained beside the model
    assert result.memory["gradients"] == result.memory["weights"]
    assert result.memory["moments"] == 2 * result.memory["weights"]
    assert result.memory["pixels"] == 16 * 4 * 3 * 16 * 16
    assert result.memory_bytes == sum(result.memory.values())


def test_devices_share_the_batch_and_not_the_weights(run):
    one, four = run().memory, run(num_devices=4).memory
    assert four["activations"] == pytest.approx(one["activations"] / 4, rel=1e-3)
    assert four["moments"] == one["moments"]
    with pytest.raises(UserError, match="devices 0"):
        run(num_devices=0)


def test_hours_follow_from_throughput_and_epochs(run, tiny_experiment: Experiment):
    optim = replace(tiny_experiment.optim, num_epochs=7)
    result = run(optim=optim, tflops=2.0)
    windows = 10 * (30 - 15 + 1)  # nine tenths of twelve episodes
    assert result.steps == 7 * (windows // 16)
    assert result.hours == pytest.approx(result.steps * result.gflop_per_step / 2000 / 3600)
    assert result.timed_steps == ()


def test_hours_are_those_of_warmed_up_steps_of_the_whole_batch(
    run, tiny_experiment: Experiment, monkeypatch: pytest.MonkeyPatch
):
    sizes, precisions = [], set()

    def watch(learner, optimizer, *, batch, precision):
        sizes.append(len(batch.actions))
        precisions.add(precision)
        return time_step(learner, optimizer, batch=batch, precision=precision)

    monkeypatch.setattr("jepawm.runs.cost.time_step", watch)
    result = run(num_windows=1)
    (timed,) = result.timed_steps
    assert (sizes, timed.kind, timed.steps) == ([1, 16], "all weights", result.steps)
    assert result.hours == pytest.approx(result.steps * timed.seconds / 3600)
    assert run(num_devices=4).timed_steps
    assert sizes[2:] == [1, 4]
    assert precisions == {"float32"}
    run(compute=replace(tiny_experiment.compute, precision="bfloat16"))
    assert precisions == {"float32", "bfloat16"}


def test_a_training_of_two_parts_times_both(run, tiny_experiment: Experiment):
    optim = replace(tiny_experiment.optim, num_steps=30, encoder_steps=10)
    first, second, between = run(optim=optim).timed_steps
    assert [first.steps, second.steps, between.steps] == [10, 20, 1]
    assert [one.kind for one in (second, between)] == ["predictor alone", "encoding all frames"]


def test_the_proposer_at_the_end_of_a_training_counts(run, tiny_experiment: Experiment):
    proposals = ProposalConfig(
        proposer=ProposerConfig(num_plans=2, width=8), num_steps=7, batch_size=4
    )
    result = run(proposals=proposals)
    model, proposer = result.timed_steps
    assert (model.kind, proposer.kind, proposer.steps) == ("all weights", "proposer", 7)
    assert proposer.seconds > 0
    seconds = result.steps * model.seconds + 7 * proposer.seconds
    assert result.hours == pytest.approx(seconds / 3600)
    assert "7 x " in render_dry_run(result)


@pytest.mark.parametrize("limit", ["_LONGEST_STEP", "_SPARE"])
def test_a_batch_that_is_too_large_gives_no_hours(run, monkeypatch, limit: str):
    monkeypatch.setattr(f"jepawm.runs.cost.{limit}", 0.0 if limit == "_LONGEST_STEP" else 1e12)
    result = run()
    assert (result.hours, result.tflops, result.timed_steps) == (None, None, ())
    assert "too large to time a step here; give --tflops" in render_dry_run(result)
    assert run(tflops=1.0).hours > 0


def test_the_first_step_does_not_count(tiny_experiment: Experiment, monkeypatch):
    moments = iter([0.0, 9.0, 9.0, 10.0, 10.0, 12.0, 12.0, 15.0, *range(100, 200)])
    monkeypatch.setattr("jepawm.training.cost.perf_counter", lambda: next(moments))
    model = build_model(tiny_experiment, action_dim=2, proprio_dim=2)
    learner = Learner(model, tiny_experiment.loss)
    batch = synthetic_batch(tiny_experiment, 2, dims=(2, 2))
    optimizer = build_optimizer(learner, tiny_experiment.optim)
    assert time_step(learner, optimizer, batch=batch) == 1.5  # of 9, 1 and 2 seconds


def test_a_step_is_timed_in_the_precision_of_training(tiny_experiment: Experiment):
    learner = Learner(
        build_model(tiny_experiment, action_dim=2, proprio_dim=2), tiny_experiment.loss
    )
    kinds: list[torch.dtype] = []
    first = next(one for one in learner.modules() if isinstance(one, torch.nn.Linear))
    first.register_forward_hook(lambda _module, _inputs, output: kinds.append(output.dtype))
    batch = synthetic_batch(tiny_experiment, 2, dims=(2, 2))
    optimizer = build_optimizer(learner, tiny_experiment.optim)
    time_step(learner, optimizer, batch=batch)
    assert set(kinds) == {torch.float32}
    time_step(learner, optimizer, batch=batch, precision="bfloat16")
    assert kinds[-1] == torch.bfloat16


def test_a_frozen_encoder_costs_no_gradient(run):
    pytest.importorskip("transformers")
    result = run(
        encoder=FrozenEncoderConfig(image_size=28, weights="hub"), loss=LossConfig(), num_windows=1
    )
    counts = result.parameters
    assert result.memory["frozen"] == 4 * counts["encoder"]
    assert result.memory["weights"] == 4 * (counts["total"] - counts["encoder"])
    # in and out of the activation function: 16 windows of 4 frames of 5 tokens
    assert result.memory["frozen_layer"] == 4 * 16 * 4 * 5 * (1536 + 1536)
    text = render_dry_run(result)
    assert "times 16/1" in text
    assert "measured: 1 windows on cpu" in text


def test_too_little_memory_says_how_much_is_needed(run, monkeypatch):
    monkeypatch.setattr("jepawm.runs.cost.free_memory", lambda device: 1000)
    with pytest.raises(UserError, match=r"needs more than .* GiB .*, 0\.0 GiB are free on cpu"):
        run()


def test_the_command_line_prints_one_object(capsys, tmp_path: Path):
    options = ["--dry-run", "--tflops", "1", "--json", "--device", "cpu"]
    assert main(["train", "wall", *options, "--data-root", str(tmp_path)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"encoder", "predictor", "total"} <= result["parameters"].keys()
    assert result["gflop_per_step"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_feature_cache_leaves_the_encoder_out(run, tiny_experiment: Experiment):
    pytest.importorskip("transformers")
    frozen = {"encoder": FrozenEncoderConfig(image_size=28), "loss": LossConfig()}
    loop = run(**frozen)
    cached = run(**frozen, data=replace(tiny_experiment.data, feature_cache="auto"))
    assert cached.gflop_per_step < loop.gflop_per_step
    assert cached.memory["tokens"] == 16 * 4 * 4 * 384 * 2
    assert cached.memory["frozen_layer"] == 0
    assert cached.parameters == loop.parameters
