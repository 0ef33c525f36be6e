"""`jepawm train-text` on a tiny run: learned, saved, resumed, planned with, measured, refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jepawm.checkpoint import load_checkpoint, save_checkpoint
from jepawm.cli import main
from jepawm.errors import UserError
from jepawm.hub.load import load
from jepawm.planning.terms.text import TextDistance
from jepawm.runs import TextRules, beside, train_text_run
from jepawm.texts import Text, TextConfig, TextHeadConfig

CONFIG = TextConfig(text="words", head=TextHeadConfig(width=16, depth=1), num_steps=4, batch_size=8)


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished run."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def train(run: Path, data_root: Path, *, config=CONFIG, rules: TextRules | None = None, **more):
    return train_text_run(
        str(run),
        config,
        rules=rules or TextRules(),
        data_root=data_root,
        device="cpu",
        **more,
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "text").tensors


def test_stopped_and_resumed_is_the_same(run: Path, wall_data_root: Path, tmp_path, monkeypatch):
    other = Path(shutil.copytree(run, tmp_path / "other"))
    done = train(run, wall_data_root)
    assert (done.run, done.steps, done.kind, done.text) == (run, 4, "captions", "words")
    assert list(done.retrieval) == ["seen", "paraphrases", "compositions"]
    assert done.retrieval["seen"].num_frames > 0
    asked = iter([False, False, True])
    monkeypatch.setattr(beside.StopRequest, "__call__", lambda _: next(asked, True))
    with pytest.raises(UserError, match="stopped; a checkpoint is written, continue with"):
        train(other, wall_data_root)
    monkeypatch.undo()
    assert load_checkpoint(other / "text").record.step == 2
    train(other, wall_data_root, resume=True)
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(run).items())
    with pytest.raises(UserError, match="trained with another config"):
        train(other, wall_data_root, config=replace(CONFIG, batch_size=9), resume=True)
    with pytest.raises(UserError, match="holds a map to texts; go on with it by --resume"):
        train(other, wall_data_root)
    with pytest.raises(UserError, match="--folder probe; give a name of its own"):
        train(run, wall_data_root, rules=TextRules(folder="probe"))


def test_the_command_line_trains_measures_and_shows(run: Path, wall_data_root: Path, capsys):
    data = ["--data-root", str(wall_data_root), "--device", "cpu", "--json"]
    small = ["--text", "words", "--num-steps", "2", "--batch-size", "4", "--head.width", "16"]
    assert main(["train-text", str(run), *small, *data]) == 0
    assert json.loads(capsys.readouterr().out)["retrieval"]["seen"]["num_frames"] > 0
    planner = ["--planner", "cem", "--planner.num-samples", "6", "--planner.num-elites", "2"]
    line = ["eval", str(run), "--objective", "text", "--episodes", "3", *planner]
    line += ["--planner.num-iterations", "2", *data]
    assert main([*line, "--instructions", "paraphrases"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["baselines"]) == ["do_nothing", "random", "oracle", "swapped"]
    assert len(found["texts"]) == 3
    written = json.loads((run / "language_paraphrases.json").read_text())
    assert written["texts"] == found["texts"]
    assert written["objective"] == {
        "type": "TextDistance",
        "folder": "text",
        "reduction": "terminal",
    }
    for options, match in (
        (["--instructions", "paraphrases"], "already holds language_paraphrases.json"),
        (["--instructions", "loud"], "--instructions loud; choose seen, paraphrases, compositions"),
        ([], "--instructions"),
    ):
        assert main([*line, *options]) == 2
        assert match in capsys.readouterr().err
    assert main(["eval", str(run), "--objective", "goal", "--instructions", "seen", *data]) == 2
    assert "compares with none; add `text` to it" in capsys.readouterr().err
    out = ["--out", str(run / "spoken"), *data]
    assert main(["plan", str(run), "--goal", "the upper left corner", *out]) == 0
    spoken = json.loads(capsys.readouterr().out)
    assert (spoken["place"], spoken["text"]) == ("upper left side", "the upper left corner")
    assert spoken["success"] in (True, False)
    assert Path(spoken["animation"]).is_file()
    free = ["--goal", "where the sun does not shine", "--out", str(run / "free"), *data]
    assert main(["plan", str(run), *free]) == 0
    assert json.loads(capsys.readouterr().out)["success"] is None


def test_a_map_of_another_model_or_encoder_is_refused(run: Path, wall_data_root: Path):
    train(run, wall_data_root)
    agent = load(run).agent(objective=TextDistance())
    agent.reset(Text("the door"))
    text = load_checkpoint(run / "text", with_training=True)
    save_checkpoint(
        run / "text", replace(text, tensors={**text.tensors, "probe": -text.tensors["probe"]})
    )
    with pytest.raises(UserError, match="trained with another text encoder than the words"):
        load(run).agent(objective=TextDistance())
    checkpoint = load_checkpoint(run / "checkpoint", with_training=True)
    name = next(iter(sorted(checkpoint.tensors)))
    changed = {**checkpoint.tensors, name: checkpoint.tensors[name] + 1e-3}
    save_checkpoint(run / "checkpoint", replace(checkpoint, tensors=changed))
    with pytest.raises(UserError, match="trained on another world model"):
        load(run).agent(objective=TextDistance())
    with pytest.raises(UserError, match="there is no map to texts at"):
        load(run).agent(objective=TextDistance(folder="clip"))
    with pytest.raises(UserError, match="is a map to texts, no world model"):
        load(run / "text")
