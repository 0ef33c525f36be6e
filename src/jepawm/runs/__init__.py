"""What each verb of the command line does, as functions."""

from importlib import import_module
from typing import TYPE_CHECKING

if (
    TYPE_CHECKING
):  # for type checkers; at run time a verb imports what it needs, and the rest stays away
    from jepawm.hub.load import preset_planner
    from jepawm.runs.cost import dry_run
    from jepawm.runs.cost_figures import render_dry_run
    from jepawm.runs.data import check_data, export_data, import_data, inspect_data, join_data
    from jepawm.runs.datasets import collect_run, features_run, use_recordings
    from jepawm.runs.decoder import DecoderRules, train_decoder_run
    from jepawm.runs.diagnose import append_row, check_rows, diagnose_run
    from jepawm.runs.diagnosis_parts import DiagnosisRules
    from jepawm.runs.evaluate import (
        TaskRules,
        default_planner,
        evaluate_run,
        has_simulator,
        plan_run,
    )
    from jepawm.runs.imports import import_checkpoint
    from jepawm.runs.language import evaluate_language, plan_text_run
    from jepawm.runs.offline import OfflineRules, evaluate_offline
    from jepawm.runs.plans import PlanRules, collect_plans
    from jepawm.runs.pretrain import pretrain_run
    from jepawm.runs.proposer import (
        ProposerRules,
        own_proposals,
        train_own_proposer,
        train_proposer_run,
    )
    from jepawm.runs.push import push_run
    from jepawm.runs.returns import evaluate_reward, is_goal_free
    from jepawm.runs.reward_sources import RewardSource
    from jepawm.runs.rewards import RewardRules, train_reward_run
    from jepawm.runs.texts import TextRules, train_text_run
    from jepawm.runs.trackers import require_trackers
    from jepawm.runs.train import train_run
    from jepawm.runs.weights import check_weights

# Where each name lives.
_HOMES = {
    "DecoderRules": "jepawm.runs.decoder",
    "DiagnosisRules": "jepawm.runs.diagnosis_parts",
    "OfflineRules": "jepawm.runs.offline",
    "PlanRules": "jepawm.runs.plans",
    "ProposerRules": "jepawm.runs.proposer",
    "RewardRules": "jepawm.runs.rewards",
    "RewardSource": "jepawm.runs.reward_sources",
    "TaskRules": "jepawm.runs.evaluate",
    "TextRules": "jepawm.runs.texts",
    "append_row": "jepawm.runs.diagnose",
    "check_data": "jepawm.runs.data",
    "check_rows": "jepawm.runs.diagnose",
    "check_weights": "jepawm.runs.weights",
    "collect_plans": "jepawm.runs.plans",
    "collect_run": "jepawm.runs.datasets",
    "default_planner": "jepawm.runs.evaluate",
    "diagnose_run": "jepawm.runs.diagnose",
    "dry_run": "jepawm.runs.cost",
    "evaluate_language": "jepawm.runs.language",
    "evaluate_offline": "jepawm.runs.offline",
    "evaluate_reward": "jepawm.runs.returns",
    "evaluate_run": "jepawm.runs.evaluate",
    "export_data": "jepawm.runs.data",
    "features_run": "jepawm.runs.datasets",
    "has_simulator": "jepawm.runs.evaluate",
    "import_checkpoint": "jepawm.runs.imports",
    "import_data": "jepawm.runs.data",
    "inspect_data": "jepawm.runs.data",
    "is_goal_free": "jepawm.runs.returns",
    "join_data": "jepawm.runs.data",
    "own_proposals": "jepawm.runs.proposer",
    "plan_run": "jepawm.runs.evaluate",
    "plan_text_run": "jepawm.runs.language",
    "preset_planner": "jepawm.hub.load",
    "pretrain_run": "jepawm.runs.pretrain",
    "push_run": "jepawm.runs.push",
    "render_dry_run": "jepawm.runs.cost_figures",
    "require_trackers": "jepawm.runs.trackers",
    "train_decoder_run": "jepawm.runs.decoder",
    "train_own_proposer": "jepawm.runs.proposer",
    "train_proposer_run": "jepawm.runs.proposer",
    "train_reward_run": "jepawm.runs.rewards",
    "train_run": "jepawm.runs.train",
    "train_text_run": "jepawm.runs.texts",
    "use_recordings": "jepawm.runs.datasets",
}

__all__ = [
    "DecoderRules",
    "DiagnosisRules",
    "OfflineRules",
    "PlanRules",
    "ProposerRules",
    "RewardRules",
    "RewardSource",
    "TaskRules",
    "TextRules",
    "append_row",
    "check_data",
    "check_rows",
    "check_weights",
    "collect_plans",
    "collect_run",
    "default_planner",
    "diagnose_run",
    "dry_run",
    "evaluate_language",
    "evaluate_offline",
    "evaluate_reward",
    "evaluate_run",
    "export_data",
    "features_run",
    "has_simulator",
    "import_checkpoint",
    "import_data",
    "inspect_data",
    "is_goal_free",
    "join_data",
    "own_proposals",
    "plan_run",
    "plan_text_run",
    "preset_planner",
    "pretrain_run",
    "push_run",
    "render_dry_run",
    "require_trackers",
    "train_decoder_run",
    "train_own_proposer",
    "train_proposer_run",
    "train_reward_run",
    "train_run",
    "train_text_run",
    "use_recordings",
]


def __getattr__(name: str) -> object:
    """Import a name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'jepawm.runs' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
