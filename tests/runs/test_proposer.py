"""`jepawm train-proposer` on a tiny run: saved beside the checkpoint, resumed, planned with, refused."""

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
from jepawm.hub.proposers import fingerprint
from jepawm.planning.best_of import BestOf
from jepawm.planning.cem import CEM
from jepawm.planning.presets import find_preset
from jepawm.proposals import ProposalConfig, ProposerConfig, VerifyConfig
from jepawm.runs import (
    ProposerRules,
    beside,
    own_proposals,
    preset_planner,
    train_own_proposer,
    train_proposer_run,
)
from jepawm.types import Context

CONFIG = ProposalConfig(
    proposer=ProposerConfig(num_plans=4, width=16, depth=1), num_steps=6, batch_size=8
)
RULES = ProposerRules(num_tasks=4)


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished run."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def train(run: Path, data_root: Path, *, rules: ProposerRules = RULES, config=CONFIG, **options):
    return train_proposer_run(
        str(run), config, rules=rules, data_root=data_root, device="cpu", **options
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "proposer").tensors


def test_it_is_saved_beside_the_checkpoint_and_planned_with(run: Path, wall_data_root: Path):
    done = train(run, wall_data_root)
    assert done.run == run
    assert (done.steps, done.horizon) == (6, 6)
    assert set(done.success) == {"direct", "propose"}
    loaded = load(run)
    env = loaded.make_env()
    obs = env.reset(env.sample_tasks(0, num_tasks=3))
    agent = loaded.agent(planner=BestOf(num_proposals=1, verify=False))
    agent.reset(env.goal_observation(), 6)
    action = agent.act(obs)
    with torch.no_grad():
        seen = loaded.model.encode(loaded.normalizer.observation(obs))[:, None]
        goal = loaded.model.encode(loaded.normalizer.observation(env.goal_observation()))
        plans = loaded.proposer.propose(
            Context(latents=seen, actions=torch.zeros(3, 0, 10)), goal, horizon=6, num_plans=1
        )
    expected = loaded.normalizer.unnormalize_action(plans[:, 0, 0])
    torch.testing.assert_close(action, expected)
    rows = [json.loads(line) for line in (run / "proposer.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 6


def test_the_command_line_trains_and_evaluates(run: Path, wall_data_root: Path, capsys):
    small = ["--num-steps", "2", "--batch-size", "4", "--proposer.width", "16", "--episodes", "0"]
    data = ["--data-root", str(wall_data_root), "--device", "cpu"]
    assert main(["train-proposer", str(run), *small, *data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["success"] == {}
    for preset in ("direct", "propose"):
        line = ["eval", str(run), "--preset", preset, "--episodes", "2", "--overwrite", "--json"]
        assert main([*line, "--device", "cpu"]) == 0
        results = json.loads(capsys.readouterr().out)
        assert results["planner"]["num_proposals"] == (1 if preset == "direct" else 4)
        assert results["oracle_planner"]["num_elites"] == 10


def test_stopped_and_resumed_is_the_same(run: Path, wall_data_root: Path, tmp_path, monkeypatch):
    other = Path(shutil.copytree(run, tmp_path / "other"))
    train(run, wall_data_root)
    asked = iter([False, False, True])
    monkeypatch.setattr(beside.StopRequest, "__call__", lambda _: next(asked, True))
    with pytest.raises(UserError, match="stopped; a checkpoint is written, continue with"):
        train(other, wall_data_root)
    monkeypatch.undo()
    assert load_checkpoint(other / "proposer").record.step == 2
    train(other, wall_data_root, resume=True)
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(run).items())
    with pytest.raises(UserError, match="trained with another config"):
        train(other, wall_data_root, config=replace(CONFIG, losers=0.9), resume=True)


def test_a_proposer_that_is_there_is_kept(run: Path, wall_data_root: Path):
    train(run, wall_data_root)
    before = weights(run)
    with pytest.raises(UserError, match="holds a proposer; go on with it by --resume, or"):
        train(run, wall_data_root, rules=replace(RULES, seed=1))
    assert all(torch.equal(value, weights(run)[name]) for name, value in before.items())
    train(run, wall_data_root, rules=replace(RULES, seed=1), overwrite=True)
    assert not torch.equal(before["codes"], weights(run)["codes"])


def test_a_run_without_one_says_how_to_train_it(run: Path, capsys):
    assert main(["eval", str(run), "--preset", "direct", "--episodes", "2", "--overwrite"]) == 2
    assert f"train one by `jepawm train-proposer {run}`" in capsys.readouterr().err
    load(run).agent(planner=CEM())  # nobody asks


def test_a_proposer_of_another_model_is_refused(run: Path, wall_data_root: Path):
    train(run, wall_data_root)
    checkpoint = load_checkpoint(run / "checkpoint", with_training=True)
    name = next(iter(sorted(checkpoint.tensors)))
    changed = {**checkpoint.tensors, name: checkpoint.tensors[name] + 1e-3}
    save_checkpoint(run / "checkpoint", replace(checkpoint, tensors=changed))
    loaded = load(run)
    assert fingerprint(loaded.model) != load_checkpoint(run / "proposer").record.model
    with pytest.raises(UserError, match="trained through another world model"):
        loaded.agent(planner=BestOf())


def test_more_than_it_can_is_refused(run: Path, wall_data_root: Path):
    train(run, wall_data_root, rules=replace(RULES, horizon=3, num_tasks=0))
    loaded = load(run)
    with pytest.raises(UserError, match=r"plans 6 action blocks, and the proposer .* 3 at most"):
        loaded.agent(planner=BestOf(), protocol="paper")
    short = replace(loaded.experiment.protocol("paper"), horizon=3, num_action_steps=3)
    agent = loaded.agent(planner=BestOf(num_proposals=5), protocol=short)
    env = loaded.make_env()
    obs = env.reset(env.sample_tasks(0, num_tasks=1))
    agent.reset(env.goal_observation())
    with pytest.raises(UserError, match="num_proposals = 5, and this proposer makes 4 plans"):
        agent.act(obs)


def test_plans_longer_than_any_episode_are_refused(run: Path, wall_data_root: Path):
    with pytest.raises(
        UserError, match=r"the longest episode of .* has 6; give a shorter --horizon"
    ):
        train(run, wall_data_root, rules=replace(RULES, horizon=7))
    assert not (run / "proposer").exists()


def test_a_bundled_model_needs_a_place(wall_data_root: Path):
    with pytest.raises(UserError, match="is no folder of yours; say where the copy goes by --out"):
        train(Path("wall"), wall_data_root)


def test_a_copy_of_a_model_is_a_run(run: Path, wall_data_root: Path, tmp_path: Path):
    done = train(run, wall_data_root, rules=replace(RULES, out=tmp_path / "copy", num_tasks=0))
    assert done.run == tmp_path / "copy"
    assert not (run / "proposer").exists()
    assert load(tmp_path / "copy").proposer is not None


def test_a_changed_file_is_refused(run: Path, wall_data_root: Path):
    train(run, wall_data_root)
    path = run / "proposer" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="was altered"):
        load(run).agent(planner=BestOf())


def test_a_configuration_that_does_not_fit_is_refused(run: Path, wall_data_root: Path):
    train(run, wall_data_root)
    checkpoint = load_checkpoint(run / "proposer", with_training=True)
    wider = {**checkpoint.record.config, "proposer": {"num_plans": 4, "width": 17, "depth": 1}}
    record = replace(checkpoint.record, config=wider)
    save_checkpoint(run / "proposer", replace(checkpoint, record=record))
    with pytest.raises(UserError, match="does not fit its configuration"):
        load(run).agent(planner=BestOf())


def test_a_proposer_is_no_world_model(run: Path, wall_data_root: Path):
    train(run, wall_data_root)
    with pytest.raises(UserError, match="is a proposer, no world model"):
        load(run / "proposer")


def test_the_past_comes_on_top_of_the_plan(run: Path, wall_data_root: Path):
    config = replace(CONFIG, proposer=replace(CONFIG.proposer, window=2))
    done = train(run, wall_data_root, config=config, rules=replace(RULES, num_tasks=0, horizon=4))
    assert done.horizon == load(run).proposer.horizon == 4


def test_fewer_plans_than_the_preset_asks_for_are_validated_all_the_same(
    run: Path, wall_data_root: Path
):
    config = replace(CONFIG, proposer=replace(CONFIG.proposer, num_plans=2))
    assert set(train(run, wall_data_root, config=config).success) == {"direct", "propose"}


def test_what_would_fail_after_training_is_refused_before(run: Path, wall_data_root: Path):
    wide = replace(CONFIG, proposer=replace(CONFIG.proposer, window=9))
    with pytest.raises(UserError, match=r"proposer\.window = 9, and the model looks at"):
        train(run, wall_data_root, config=wide)
    with pytest.raises(UserError, match=r"--horizon 3 is too short .* by --episodes 0"):
        train(run, wall_data_root, rules=replace(RULES, horizon=3))
    assert not (run / "proposer").exists()


def test_a_folder_of_another_model_is_refused(run: Path, wall_data_root: Path, tmp_path: Path):
    other = Path(shutil.copytree(run, tmp_path / "other"))
    checkpoint = load_checkpoint(other / "checkpoint", with_training=True)
    name = next(iter(sorted(checkpoint.tensors)))
    changed = {**checkpoint.tensors, name: checkpoint.tensors[name] + 1e-3}
    save_checkpoint(other / "checkpoint", replace(checkpoint, tensors=changed))
    with pytest.raises(UserError, match=r"other holds another model; choose another --out"):
        train(run, wall_data_root, rules=replace(RULES, out=other))
    assert not (other / "proposer").exists()


def test_moments_that_are_not_there_are_no_fresh_start(run: Path, wall_data_root: Path):
    train(run, wall_data_root)
    saved = load_checkpoint(run / "proposer", with_training=True)
    kept = {name: value for name, value in saved.training.items() if "exp_avg" not in name}
    save_checkpoint(run / "proposer", replace(saved, training=kept))
    with pytest.raises(UserError, match=r"the training state lacks optimizer\..*exp_avg"):
        train(run, wall_data_root, resume=True)


def test_a_recipe_trains_its_proposer_as_its_last_stage(wall_data_root: Path, tmp_path: Path):
    run = tmp_path / "run"
    words = [
        *("train", "wall", "--out", str(run), "--data-root", str(tmp_path / "data")),
        *("--data.num-episodes", "24", "--optim.num-steps", "2", "--optim.batch-size", "8"),
        *("--predictor.depth", "1", "--predictor.visual-dim", "16", "--device", "cpu"),
        *("--proposals.batch-size", "4", "--proposals.proposer.width", "8", "--json"),
    ]
    assert main([*words, "--proposals.num-steps", "3", "--processes", "1"]) == 0
    loaded = load(run)
    assert loaded.proposer is not None
    assert loaded.proposer.config.width == 8
    assert own_proposals(str(run)).num_steps == 3  # what `train-proposer RUN` starts from
    assert own_proposals("wall") == ProposalConfig()  # trained before recipes had a proposer


def test_no_steps_make_no_proposer(run: Path, wall_data_root: Path):
    with pytest.raises(UserError, match="num_steps = 0 trains no proposer"):
        train(run, wall_data_root, config=replace(CONFIG, num_steps=0))
    assert not (run / "proposer").exists()
    assert train_own_proposer(run, data_root=wall_data_root, device="cpu") is None


def test_propose_does_what_the_proposer_was_saved_with(run: Path, wall_data_root: Path):
    assert preset_planner(str(run), "propose") == find_preset("propose", frameskip=5)
    own = VerifyConfig(num_proposals=2, num_refined=1, num_iterations=3, refine_above=0.0)
    train(run, wall_data_root, config=replace(CONFIG, verify=own))
    planner = preset_planner(str(run), "propose")
    assert isinstance(planner, BestOf)
    assert (planner.num_proposals, planner.num_refined, planner.refine_above) == (2, 1, 0.0)
    assert planner.refiner.num_iterations == 3


def test_a_proposer_of_before_is_verified_as_usual(run: Path, wall_data_root: Path):
    train(run, wall_data_root)
    saved = load_checkpoint(run / "proposer", with_training=True)
    config = {name: value for name, value in saved.record.config.items() if name != "verify"}
    save_checkpoint(run / "proposer", replace(saved, record=replace(saved.record, config=config)))
    assert preset_planner(str(run), "propose") == find_preset("propose", frameskip=5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_proposals", 0),
        ("num_refined", -1),
        ("num_refined", 5),
        ("num_iterations", 0),
        ("refine_above", float("nan")),
        ("poor_above", 0.0),
    ],
)
def test_settings_of_verification_out_of_range_are_refused(name, value):
    with pytest.raises(UserError, match=f"verify.{name}"):
        VerifyConfig(**{name: value})
