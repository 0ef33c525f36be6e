"""A run goes to the hub and comes back: against a server that speaks the hub's endpoints."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hub_server import Hub, serving
from jepawm.cli import main
from jepawm.errors import UserError
from jepawm.hub.load import load

huggingface_hub = pytest.importorskip("huggingface_hub")

from huggingface_hub import ModelCard, constants  # noqa: E402

from jepawm.runs.push import push_run  # noqa: E402


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving(Hub()) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        monkeypatch.setenv("JEPAWM_DATA", str(tmp_path / "data"))
        monkeypatch.setattr("time.sleep", lambda _seconds: None)
        yield server


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """Return a run with results, as an evaluation leaves them."""
    folder = tmp_path / "mine"
    shutil.copytree(tiny_run, folder)
    results = {
        "env": "wall", "protocol": "paper", "episodes": 8, "seed": 0, "split": "test",
        "success": 0.75, "ci95": [0.4, 0.93], "baselines": {"do_nothing": 0.0, "random": 0.125},
        "baselines_ci95": {"random": [0.02, 0.47]}, "seconds_per_plan": 0.01,
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_a_run_goes_up_and_comes_back_bit_for_bit(hub: Hub, run: Path, capsys):
    arguments = ["push", str(run), "me/wall-tiny", "--license", "cc-by-4.0", "--json"]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["load"] == 'jepawm.load("hf://me/wall-tiny")'
    assert set(hub.repositories["me/wall-tiny"]) == {
        "README.md", "config.json", "experiment.json", "metrics.jsonl", "model.safetensors", "results.json",
    }  # fmt: skip
    found, mine = load("hf://me/wall-tiny"), load(run)
    assert found.experiment == mine.experiment
    for name, value in mine.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value)
    assert (found.run / "results.json").is_file()


def test_the_card_holds_results_recipe_data_and_licence(hub: Hub, run: Path):
    push_run(str(run), "me/wall-tiny", license_name="cc-by-4.0")
    text = hub.repositories["me/wall-tiny"]["README.md"].decode()
    card = ModelCard(text)
    head = card.data.to_dict()
    assert (head["library_name"], head["license"], head["pipeline_tag"]) == (
        "jepawm",
        "cc-by-4.0",
        "robotics",
    )
    result = head["model-index"][0]["results"][0]
    assert result["metrics"][0]["value"] == 0.75
    assert "| World model | 75.0% | 40.0% to 93.0% |" in text
    assert "| Random actions | 12.5% | 2.0% to 47.0% |" in text
    assert "`tiny`, 12 optimiser steps" in text
    assert "SHA-256 of the store: `" in text
    assert 'jepawm.load("hf://me/wall-tiny")' in text
    push_run("wall", "me/other")
    text = hub.repositories["me/other"]["README.md"].decode()
    assert "No licence is given" in text
    assert "Not evaluated yet" in text


def test_a_proposer_goes_with_its_model(hub: Hub):
    push_run("wall", "me/wall")
    assert {"proposer/config.json", "proposer/model.safetensors"} <= set(
        hub.repositories["me/wall"]
    )
    assert load("hf://me/wall").proposer is not None


def test_a_repository_that_exists_is_refused_and_may_be_added_to(hub: Hub, run: Path):
    push_run(str(run), "me/wall-tiny")
    before = hub.sha("me/wall-tiny")
    with pytest.raises(UserError, match=r"me/wall-tiny exists on the hub; .*--overwrite"):
        push_run(str(run), "me/wall-tiny", license_name="mit")
    assert hub.sha("me/wall-tiny") == before
    push_run(str(run), "me/wall-tiny", license_name="mit", overwrite=True)
    assert hub.sha("me/wall-tiny") != before


def test_a_token_is_asked_for_before_anything_is_sent(hub: Hub, run: Path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(run / "none"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(run / "none"))
    with pytest.raises(UserError, match=r"no token of the hub: log in by `hf auth login`"):
        push_run(str(run), "me/wall-tiny")
    assert hub.requests == []
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match="does not let you write to me/wall-tiny"):
        push_run(str(run), "me/wall-tiny")


def test_without_a_network_the_cache_serves(hub: Hub, run: Path, monkeypatch):
    push_run(str(run), "me/wall-tiny")
    load("hf://me/wall-tiny")
    hub.down = True
    assert load("hf://me/wall-tiny").experiment.name == "tiny"
    hub.down = False
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load("hf://me/wall-tiny").experiment.name == "tiny"
    with pytest.raises(
        UserError, match=r"no hf://me/other in the cache, and HF_HUB_OFFLINE is set; fetch"
    ):
        load("hf://me/other")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set; unset it to push"):
        push_run(str(run), "me/wall-tiny")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        UserError, match=r"no hf://me/other in the cache, and the hub cannot be reached"
    ):
        load("hf://me/other")
    with pytest.raises(UserError, match=r"cannot reach the hub .*nothing of the run was changed"):
        push_run(str(run), "me/more")


def test_what_is_no_model_of_ours_is_named(hub: Hub, run: Path):
    hub.repositories["you/other"] = {"README.md": b"# a model", "config.json": b"{}"}
    with pytest.raises(UserError, match=r"config\.json is not a checkpoint of format 1"):
        load("hf://you/other")
    hub.repositories["you/bare"] = {"README.md": b"# a model"}
    with pytest.raises(UserError, match=r"hf://you/bare is no model of this library"):
        load("hf://you/bare")
    with pytest.raises(UserError, match="the hub has no hf://you/none, or shows it only to others"):
        load("hf://you/none")
    for name in ("hf://alone", "hf://a/b/c", "hf://../x"):
        with pytest.raises(UserError, match="names no model on the hub"):
            load(name)
    with pytest.raises(UserError, match="holds no checkpoint to push"):
        push_run(str(run / "nothing"), "me/x")


def test_damage_in_the_cache_is_noticed(hub: Hub, run: Path):
    push_run(str(run), "me/wall-tiny")
    folder = load("hf://me/wall-tiny").run
    weights = (folder / "model.safetensors").resolve()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="was altered: its hash differs"):
        load("hf://me/wall-tiny")
