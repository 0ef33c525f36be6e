"""`jepawm train-decoder` on a tiny run: saved beside the checkpoint, resumed, looked through, refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jepawm.checkpoint import load_checkpoint, save_checkpoint
from jepawm.cli import main
from jepawm.decoding import DecodingConfig
from jepawm.errors import UserError
from jepawm.hub.load import load
from jepawm.models.heads import LinearProbe
from jepawm.models.latent_heads import LatentHead
from jepawm.runs import DecoderRules, beside, train_decoder_run

CONFIG = DecodingConfig(num_steps=6, probe_steps=4, batch_size=8, width=16, depth=1, channels=4)
RULES = DecoderRules()


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished run."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def train(run: Path, data_root: Path, *, rules: DecoderRules = RULES, config=CONFIG, **options):
    return train_decoder_run(
        str(run), config, rules=rules, data_root=data_root, device="cpu", **options
    )


def weights(run: Path, folder: str = "decoder") -> dict[str, torch.Tensor]:
    return load_checkpoint(run / folder).tensors


def test_they_are_saved_beside_the_checkpoint(run: Path, wall_data_root: Path):
    before = load(run)
    assert before.decoder is None
    assert isinstance(before.state_probe, LinearProbe)
    done = train(run, wall_data_root)
    assert (done.run, done.steps) == (run, 6)
    assert len(done.state_error) == 2
    loaded = load(run)
    env = loaded.make_env()
    obs = env.reset(env.sample_tasks(0, num_tasks=3))
    latents = loaded.model.encode(loaded.normalizer.observation(obs))
    assert loaded.require_decoder().pixels(latents).shape == obs.pixels.shape
    assert isinstance(loaded.state_probe, LatentHead)
    assert loaded.state_probe(latents).shape == (3, 2)
    for name, steps in (("decoder", 6), ("probe", 4)):
        rows = [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]
        assert rows[-1]["step"] == steps


def test_longer_training_shows_more(run: Path, wall_data_root: Path):
    short = train(run, wall_data_root)
    longer = train(
        run, wall_data_root, config=replace(CONFIG, num_steps=60, probe_steps=60), overwrite=True
    )
    assert longer.psnr > short.psnr
    assert sum(longer.state_error) < sum(short.state_error)


def test_the_command_line_trains(run: Path, wall_data_root: Path, capsys):
    small = ["--num-steps", "2", "--probe-steps", "0", "--batch-size", "4", "--width", "16"]
    line = ["train-decoder", str(run), *small, "--data-root", str(wall_data_root), "--json"]
    assert main([*line, "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["state_error"] == []
    assert not (run / "probe").exists()
    assert main([*line, "--device", "cpu"]) == 2
    assert "holds a decoder; go on with it by --resume" in capsys.readouterr().err


def test_stopped_and_resumed_is_the_same(run: Path, wall_data_root: Path, tmp_path, monkeypatch):
    other = Path(shutil.copytree(run, tmp_path / "other"))
    train(run, wall_data_root)
    asked = iter([False, False, True])
    monkeypatch.setattr(beside.StopRequest, "__call__", lambda _: next(asked, True))
    with pytest.raises(UserError, match="stopped; a checkpoint is written, continue with"):
        train(other, wall_data_root)
    monkeypatch.undo()
    assert load_checkpoint(other / "decoder").record.step == 2
    assert not (other / "probe").exists()
    train(other, wall_data_root, resume=True)
    for folder in ("decoder", "probe"):
        resumed = weights(other, folder)
        assert all(torch.equal(one, resumed[name]) for name, one in weights(run, folder).items())
    with pytest.raises(UserError, match="trained with another config"):
        train(other, wall_data_root, config=replace(CONFIG, change_weight=0.0), resume=True)


def test_those_of_another_model_are_refused(run: Path, wall_data_root: Path):
    train(run, wall_data_root)
    checkpoint = load_checkpoint(run / "checkpoint", with_training=True)
    name = next(iter(sorted(checkpoint.tensors)))
    changed = {**checkpoint.tensors, name: checkpoint.tensors[name] + 1e-3}
    save_checkpoint(run / "checkpoint", replace(checkpoint, tensors=changed))
    with pytest.raises(UserError, match="reads the latents of another world model"):
        _ = load(run).decoder


def test_a_decoder_in_the_place_of_a_probe_is_refused(run: Path, wall_data_root: Path):
    train(run, wall_data_root)
    shutil.rmtree(run / "probe")
    (run / "decoder").rename(run / "probe")
    with pytest.raises(UserError, match=r"probe reads pixels of shape"):
        _ = load(run).state_probe
    with pytest.raises(UserError, match="train one by `jepawm train-decoder"):
        load(run).require_decoder()
    with pytest.raises(UserError, match="it is no world model; give the folder around it"):
        load(run / "probe")


def test_a_bundled_model_is_copied(wall_data_root: Path, tmp_path: Path):
    with pytest.raises(UserError, match="wall is no folder of yours; say where the copy goes"):
        train(Path("wall"), wall_data_root)
    rules = DecoderRules(out=tmp_path / "new", num_episodes=4)
    train(Path("wall"), wall_data_root, rules=rules)
    assert load(tmp_path / "new").decoder is not None


@pytest.mark.parametrize("name", ["wall", "pointmaze", "pusht"])
def test_bundled_decoders_are_small_and_show_what_is_there(name: str):
    loaded = load(name)
    for folder in ("decoder", "probe"):
        assert (loaded.run / folder / "model.safetensors").stat().st_size <= 3_000_000
    env = loaded.make_env()
    try:
        obs = env.reset(env.sample_tasks(3, num_tasks=8))
    except UserError as error:
        pytest.skip(str(error))  # no OpenGL
    latents = loaded.model.encode(loaded.normalizer.observation(obs))
    shown = loaded.require_decoder().pixels(latents).float()
    error = (shown - obs.pixels).square().mean((1, 2, 3)).sqrt()
    blank = (loaded.require_decoder().output_mean - obs.pixels).square().mean((1, 2, 3)).sqrt()
    assert (error < blank).all()


def test_the_bundled_decoder_of_wall_shows_the_dot_where_it_is():
    loaded = load("wall")
    env = loaded.make_env()
    obs = env.reset(env.sample_tasks(3, num_tasks=16))
    latents = loaded.model.encode(loaded.normalizer.observation(obs))
    shown = loaded.require_decoder().pixels(latents)
    away = _brightest(shown) - _brightest(obs.pixels)
    assert float(away.float().norm(dim=1).mean()) < 1.5
    read = loaded.state_probe(latents) - torch.from_numpy(env.states())
    assert float(read.norm(dim=1).mean()) < 1.5


def _brightest(pictures: torch.Tensor) -> torch.Tensor:
    """Return the place where red is strongest among the other colours: the dot."""
    red = pictures[:, 0].float() - pictures[:, 1:].float().mean(1)
    flat = red.flatten(1).argmax(1)
    return torch.stack([flat % red.shape[2], flat // red.shape[2]], dim=1)
