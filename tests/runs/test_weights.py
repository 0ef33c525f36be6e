"""`jepawm check weights`: what a file is, what matches, and whether it would plan."""

import json
from pathlib import Path

import pytest
import torch

from jepawm.cli import main
from jepawm.errors import UserError
from jepawm.runs.weights import check_weights
from released_files import dino_wm_layout, layout, random_groups, shallow, write


@pytest.fixture(autouse=True)
def one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Released models have one block here."""
    monkeypatch.setattr("jepawm.runs.weights.released_experiment", shallow)


@pytest.mark.parametrize(
    "model",
    [
        "jepa_wm_wall",
        pytest.param("jepa_wm_droid", marks=pytest.mark.slow),
        pytest.param("dino_wm_pusht", marks=pytest.mark.slow),
    ],
)
def test_a_released_file_is_recognised_and_plans(model: str, tmp_path: Path, capsys):
    groups = random_groups(layout(model, depth=1))
    path = write(tmp_path / "file.pth.tar", groups)
    assert main(["check", "weights", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert model in found["models"]
    stored = sum(k.endswith(".0.bias") and v.ndim == 4 for k, v in groups["predictor"].items())
    assert found["tensors"] == sum(map(len, groups.values())) - stored
    assert (found["missing"], found["unexpected"]) == (0, 0)
    assert found["dropped"] == ["opt", "scaler", "epoch"]
    assert found["plans"].startswith("yes: a search lowers the cost from ")
    assert found["command"].startswith(f"jepawm import jepa-wms {path} --model ")


@pytest.mark.slow
def test_original_checkpoints_of_dino_wm_are_recognised_in_their_own_sizes(tmp_path: Path):
    shapes = dino_wm_layout(
        384 + 20, depth=2, code=10, action_code=10, action=10, proprio=4, num_tokens=3 * 14**2
    )
    found = check_weights(write(tmp_path / "model_latest.pth", random_groups(shapes)))
    assert "dino_wm_pusht" in found.models
    assert "import dino-wm" in found.command


def test_what_nearly_fits_is_told_with_what_differs(tmp_path: Path, capsys):
    groups = random_groups(layout("jepa_wm_wall", depth=1))
    del groups["predictor"]["predictor_norm.weight"]
    groups["predictor"]["predictor_scale"] = torch.ones(1)
    path = write(tmp_path / "file.pth.tar", groups)
    assert main(["check", "weights", str(path)]) == 2
    told = capsys.readouterr().err
    assert "is nearly jepa_wm_wall" in told
    assert "missing predictor.predictor_norm.weight; unexpected predictor.predictor_scale" in told


def test_other_files_are_told_apart(tmp_path: Path):
    torch.save({"predictor": {"layer.weight": torch.ones(2, 2)}}, tmp_path / "a.pth")
    with pytest.raises(
        UserError, match=r"a\.pth is no model that is known here: of \w+, which it is"
    ):
        check_weights(tmp_path / "a.pth")
    torch.save({"state_dict": {"layer.weight": torch.ones(2, 2)}}, tmp_path / "b.pth")
    with pytest.raises(UserError, match=r"b\.pth holds (state_dict besides|no model)"):
        check_weights(tmp_path / "b.pth")
    with pytest.raises(UserError, match=r"c\.pth is missing"):
        check_weights(tmp_path / "c.pth")
    (tmp_path / "d.pth").write_text("<html>")
    with pytest.raises(UserError, match="web page"):
        check_weights(tmp_path / "d.pth")


@pytest.mark.slow
def test_weights_that_ignore_actions_would_not_plan(tmp_path: Path):
    groups = random_groups(layout("jepa_wm_wall", depth=1))
    groups["predictor"]["action_encoder.weight"].zero_()
    found = check_weights(write(tmp_path / "file.pth.tar", groups))
    assert found.plans.startswith("no: the cost is ")
