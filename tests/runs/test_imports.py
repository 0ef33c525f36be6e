"""`jepawm import`: checkpoints that load come out, and anything that does not fit is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.checkpoint import load_checkpoint, read_record
from jepawm.cli import main
from jepawm.hub.load import load
from jepawm.hub.released import released_experiment
from jepawm.types import Observation
from released_files import (
    DEPTH,
    MODELS,
    Groups,
    assert_same,
    direct,
    layout,
    predict,
    random_groups,
    shallow,
    take,
    without_encoder,
    write,
)


@pytest.fixture(scope="module")
def pusht_groups() -> Groups:
    return random_groups(layout("jepa_wm_pusht", depth=1))


@pytest.fixture
def pusht_file(pusht_groups: Groups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a file of one block; the released model is taken to have one."""
    monkeypatch.setattr("jepawm.hub.imports.released_experiment", shallow)
    return write(tmp_path / "jepa_wm_pusht.pth.tar", pusht_groups)


def run_import(path: Path, out: Path, *more: str, model: str = "jepa_wm_pusht") -> int:
    return main(["import", "jepa-wms", str(path), "--model", model, "--out", str(out), *more])


def test_the_command_writes_a_checkpoint_that_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("transformers")
    groups = random_groups(layout("jepa_wm_pusht", depth=6))
    path, out = write(tmp_path / "jepa_wm_pusht.pth.tar", groups), tmp_path / "out"
    assert run_import(path, out, "--encoder-weights", "random:3", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["missing"], report["unexpected"], report["model"]) == (0, 0, "jepa_wm_pusht")
    assert report["parameters"] == 17_626_480 + 5 * 16
    loaded = load(out)
    assert_same(
        predict(loaded.model, proprio_dim=4),
        predict(direct("jepa_wm_pusht", groups, depth=6), proprio_dim=4),
    )
    assert loaded.normalizer.action_std.tolist() == pytest.approx([0.2019, 0.2002])
    obs = Observation(
        pixels=torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8), proprio=torch.zeros(1, 4)
    )
    assert loaded.model.encode(obs).tokens.shape == (1, 256, 384)


def test_a_released_name_loads_from_the_cache(
    pusht_file: Path, pusht_groups: Groups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("transformers")
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("JEPAWM_DATA", str(tmp_path))
    folder = tmp_path / "weights" / "facebook--jepa-wms"
    folder.mkdir(parents=True)
    pusht_file.rename(folder / pusht_file.name)
    loaded = load("jepa_wm_pusht", encoder_weights="random")
    assert loaded.name == "jepa_wm_pusht"
    assert_same(
        predict(loaded.model, proprio_dim=4),
        predict(direct("jepa_wm_pusht", pusht_groups), proprio_dim=4),
    )


def damage(groups: Groups, change: str) -> Groups:
    changed = {group: dict(tensors) for group, tensors in groups.items()}
    name = "predictor_blocks.0.attn.qkv.weight"
    if change == "missing":
        del changed["predictor"][name]
    elif change == "extra":
        changed["predictor"]["magic.weight"] = torch.ones(2)
    elif change == "shape":
        changed["predictor"][name] = torch.ones(3, 2)
    elif change == "nan":
        changed["predictor"][name] = torch.full((1200, 400), torch.nan)
    elif change == "group":
        changed["heads"] = {"weight": torch.ones(2)}
    else:
        del changed["proprio_encoder"]
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "is not jepa_wm_pusht: missing predictor.predictor_blocks.0.attn.qkv.weight"),
        ("extra", "is not jepa_wm_pusht: unexpected predictor.magic.weight"),
        ("shape", "predictor_blocks.0.attn.qkv.weight is (3, 2) instead of (1200, 400)"),
        ("nan", "NaN or infinite weights in predictor.predictor_blocks.0.attn.qkv.weight"),
        ("group", "holds heads besides predictor, action_encoder, proprio_encoder"),
        ("no group", "missing proprio_encoder.patch_embed.weight; missing proprio_encoder.patch_"),
    ],
)
def test_what_does_not_fit_is_listed_and_refused(
    change: str, message: str, pusht_file: Path, pusht_groups: Groups, tmp_path: Path, capsys
):
    path = write(pusht_file, damage(pusht_groups, change))
    assert run_import(path, tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_model_that_a_file_holds_is_named(pusht_file: Path, tmp_path: Path, capsys):
    assert run_import(pusht_file, tmp_path / "out", model="jepa_wm_wall") == 2
    message = capsys.readouterr().err
    assert "proprio_encoder.patch_embed.weight is (16, 4, 1) instead of (16, 2, 1)" in message
    assert "its tensors are those of jepa_wm_pointmaze or jepa_wm_pusht" in message
    assert run_import(pusht_file, tmp_path / "out", model="jepa_wm_magic") == 2
    assert "no released model is called 'jepa_wm_magic' (there are: " in capsys.readouterr().err


class Payload:
    """What would run a command when unpickled."""

    def __reduce__(self) -> tuple:
        import os

        return os.system, ("touch jepawm-was-here",)


@pytest.mark.parametrize("project", ["jepa-wms", "dino-wm", "vjepa2-ac"])
def test_files_that_are_no_checkpoints_are_refused(
    project: str, pusht_file: Path, tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    content = pusht_file.read_bytes()
    model = {"jepa-wms": ["--model", "jepa_wm_pusht"], "dino-wm": ["--model", "dino_wm_pusht"]}

    def complaint() -> str:
        arguments = ["import", project, "file.pth", "--out", "out", *model.get(project, [])]
        assert main(arguments) == 2
        return capsys.readouterr().err

    assert "file.pth is missing" in complaint()
    path = tmp_path / "file.pth"
    path.write_bytes(content[: len(content) // 2])
    assert "truncated" in complaint()
    path.write_bytes(b"")
    assert "cannot read file.pth" in complaint()
    path.write_text("<!doctype html><title>404</title>")
    assert "web page" in complaint()
    path.write_bytes(np.random.default_rng(0).bytes(1000))
    assert "not a weight file" in complaint()
    torch.save({"predictor": {"a": torch.ones(1)}, "epoch": Payload()}, path)
    assert "system" in complaint()
    torch.save([1, 2], path)
    assert "holds a list" in complaint()
    torch.save({"epoch": 3}, path)
    assert "missing predictor." in complaint()
    assert not (tmp_path / "jepawm-was-here").exists()
    assert not (tmp_path / "out").exists()


def test_folders_with_files_stay(pusht_file: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "note.txt").write_text("mine")
    assert run_import(pusht_file, out, "--overwrite") == 2
    assert "out holds files" in capsys.readouterr().err
    assert run_import(pusht_file, pusht_file) == 2
    assert "is a file; give a folder" in capsys.readouterr().err
    assert run_import(pusht_file, tmp_path / "new") == 0
    assert run_import(pusht_file, tmp_path / "new") == 2
    assert run_import(pusht_file, tmp_path / "new", "--overwrite") == 0


def test_statistics_can_be_given(pusht_file: Path, tmp_path: Path, capsys):
    statistics = {"action_mean": [0, 0], "action_std": [1, 2], "proprio_mean": [0] * 4}
    path = tmp_path / "statistics.json"
    path.write_text(json.dumps(statistics | {"proprio_std": [3] * 4}))
    assert run_import(pusht_file, tmp_path / "out", "--statistics", str(path)) == 0
    normalizer = read_record(tmp_path / "out").normalizer
    assert normalizer.to_json()["proprio_std"] == [3, 3, 3, 3]
    path.write_text(json.dumps(statistics | {"proprio_std": [3] * 2}))
    assert run_import(pusht_file, tmp_path / "other", "--statistics", str(path)) == 2
    assert "proprio_std needs a list of 4 numbers" in capsys.readouterr().err
    path.write_text("{")
    assert run_import(pusht_file, tmp_path / "other", "--statistics", str(path)) == 2
    assert "is truncated or altered" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_released_layout_at_full_size(model: str, tmp_path: Path):
    family = MODELS[model][0]
    depth = 12 if model == "jepa_wm_droid" else DEPTH[family]
    groups = random_groups(layout(model, depth=depth))
    path = write(tmp_path / "file.pth.tar", groups)
    arguments = ["import", "jepa-wms", str(path), "--model", model, "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    checkpoint = load_checkpoint(tmp_path / "out")
    imported = take(path, released_experiment(model))
    assert checkpoint.tensors.keys() == {f"model.{name}" for name in imported.weights}
    dim, proprio_dim = MODELS[model][1], MODELS[model][6]
    got = predict(without_encoder(imported, dim=dim), proprio_dim=proprio_dim)
    assert_same(got, predict(direct(model, groups, depth=depth), proprio_dim=proprio_dim))
