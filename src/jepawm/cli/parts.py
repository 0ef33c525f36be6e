"""What `train-proposer`, `train-reward`, `train-text` and `train-decoder` have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepawm.cli.choices import DeviceName


@dataclass(frozen=True, kw_only=True)
class PartOptions:
    """Options of a verb that trains a part beside the world model of a run."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder, or the name of a bundled checkpoint with --out."""
    out: Path | None = None
    """Folder that gets a copy of the checkpoint and what is trained; the run itself if not given."""
    num_episodes: int | None = None
    """Episodes to learn from, collected where they are missing; those of the run if not given."""
    seed: int = 0
    """Seed of the weights and of the order of the data."""
    data_root: Path | None = None
    """Folder for data sets; `$JEPAWM_DATA` or the user's cache folder if not given."""
    device: DeviceName = "auto"
    """Device to compute on."""
    resume: bool = False
    """Go on with what was trained here before."""
    overwrite: bool = False
    """Replace what was trained here before."""
    processes: int | None = None
    """Processes that collect a missing data set; one for each thread if not given."""
    encoder_weights: str | None = None
    """Where the weights of a frozen encoder are here: `hub`, a path, or random:SEED; where its
    training found them if not given."""
    trust: bool = False
    """Run code of other people that only the run names: parts given as my_module:MyThing."""
    json: bool = False
    """Print the result as one JSON object."""
