"""Give a trained model away: its checkpoint without the training state."""

from pathlib import Path

from jepawm.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from jepawm.runs.evaluate import copy_record


def export_run(run: Path, folder: Path) -> None:
    """Write the checkpoint of a run, without its training state, to `folder`.

    The configuration and the metrics of the training go with it, for reports.
    """
    checkpoint = load_checkpoint(run / "checkpoint")
    config = {k: v for k, v in checkpoint.config.items() if k not in ("sha256", "format")}
    save_checkpoint(folder, Checkpoint(config=config, tensors=checkpoint.tensors))
    copy_record(run, folder)
