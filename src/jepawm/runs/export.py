"""Give a trained model away: its checkpoint without the training state."""

from dataclasses import replace
from pathlib import Path

from jepawm.checkpoint import load_checkpoint, save_checkpoint
from jepawm.runs.evaluate import copy_record


def export_run(run: Path, folder: Path) -> None:
    """Write the checkpoint of a run, without its training state, to `folder`.

    The configuration and the metrics of the training go with it, for reports.
    """
    checkpoint = load_checkpoint(run / "checkpoint")
    save_checkpoint(folder, replace(checkpoint, training=None))
    copy_record(run, folder)
