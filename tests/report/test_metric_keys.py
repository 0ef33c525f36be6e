from jepawm.report.metric_keys import METRICS, metric_group


def test_metric_group_folds_rollout_steps():
    assert metric_group("val/prediction_k12") == "val/prediction_k{k}"
    assert metric_group("train/loss_kind") == "train/loss_kind"


def test_every_metric_is_explained_in_the_docs(project_root):
    text = (project_root / "docs" / "report.md").read_text(encoding="utf-8")
    for key in METRICS:
        assert f"`{key}`" in text
