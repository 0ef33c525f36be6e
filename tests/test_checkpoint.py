"""Checkpoints: what comes back, what is refused, and what survives a full disk or a kill."""

import json
import os
import pickle
import resource
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from jepawm.checkpoint import (
    Checkpoint,
    find_checkpoint,
    load_checkpoint,
    read_record,
    save_checkpoint,
)
from jepawm.errors import UserError
from jepawm.models.weight_files import load_weights
from jepawm.normalizer import Normalizer
from jepawm.records import DecoderRecord, ModelRecord, Provenance, TrainedOn

RECORD = ModelRecord(
    experiment={"seed": 4, "nested": {"list": [1, 2.5, None]}},
    action_dim=2,
    proprio_dim=0,
    normalizer=Normalizer.from_statistics(action_mean=[0.1, 0.2], action_std=[1.0, 2.0]),
)


def checkpoint_of(value: float = 1.0, *, size: int = 3, training: bool = True) -> Checkpoint:
    return Checkpoint(
        record=RECORD,
        tensors={"a": torch.full((2, size), value), "b": torch.arange(4)},
        training={"step": torch.tensor(7)} if training else None,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "checkpoint", checkpoint_of())
    return tmp_path / "checkpoint"


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Let every file end at `limit` bytes, as a disk does that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_saved_comes_back(folder: Path):
    loaded = load_checkpoint(folder, with_training=True)
    assert isinstance(loaded.record, ModelRecord)
    assert loaded.record.experiment == RECORD.experiment
    assert torch.equal(loaded.tensors["a"], torch.ones(2, 3))
    assert torch.equal(loaded.tensors["b"], torch.arange(4))
    assert loaded.training is not None
    assert loaded.training["step"].item() == 7
    assert load_checkpoint(folder).training is None


def test_the_record_is_read_without_tensors(folder: Path):
    (folder / "model.safetensors").unlink()
    assert read_record(folder).experiment == RECORD.experiment
    with pytest.raises(UserError, match=r"there is no config\.json"):
        read_record(folder / "nowhere")


FULL = {
    "experiment": {"seed": 4},
    "dims": {"action_dim": 2, "proprio_dim": 1},
    "normalizer": {
        "action_mean": [0.5, 0.25],
        "action_std": [1.0, 2.0],
        "proprio_mean": [3.0],
        "proprio_std": [1.0],
    },
    "step": 7,
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "commit": None,
    "num_threads": 2,
    "encoder": {"name": "dinov2 S", "sha256": "0" * 64},
    "imported": {"file": "weights.pth"},
}


@pytest.mark.parametrize(
    "left_out", [(), ("step", "versions", "commit", "num_threads"), ("encoder",)]
)
def test_the_file_of_a_record_keeps_its_keys_and_their_order(folder: Path, left_out):
    """What an earlier version wrote is written again as it was."""
    path = folder / "config.json"
    config = {key: value for key, value in FULL.items() if key not in left_out}
    rest = {key: json.loads(path.read_text())[key] for key in ("format", "sha256")}
    path.write_text(json.dumps(config | rest, indent=1))  # earlier versions had no seal
    before, loaded = path.read_text(), load_checkpoint(folder, with_training=True)
    record = loaded.record
    assert isinstance(record, ModelRecord)
    assert (record.action_dim, record.proprio_dim) == (2, 1)
    versions = Provenance(versions=FULL["versions"], commit=None, num_threads=2)
    assert record.provenance == (None if "versions" in left_out else versions)
    save_checkpoint(folder, loaded)
    written = json.loads(path.read_text())
    assert len(written.pop("seal")) == 64
    assert json.dumps(written, indent=1) == before


def test_a_decoder_has_a_record_of_its_own(folder: Path):
    record = DecoderRecord(decoder={"latent_dim": 384}, imported={"file": "weights.pth"})
    save_checkpoint(folder, Checkpoint(record=record, tensors={"a": torch.ones(1)}))
    config = json.loads((folder / "config.json").read_text())
    assert list(config) == ["decoder", "imported", "format", "sha256", "seal"]
    assert load_checkpoint(folder).record == record
    with pytest.raises(UserError, match=r"is a decoder, no world model; .*load_decoder"):
        read_record(folder)


def test_saving_replaces_the_whole_folder(folder: Path):
    (folder / "leftover").write_text("old")
    save_checkpoint(folder, checkpoint_of(2.0, training=False))
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]
    assert load_checkpoint(folder).tensors["a"][0, 0] == 2
    with pytest.raises(UserError, match=r"no training\.safetensors; it can be used but not"):
        load_checkpoint(folder, with_training=True)


@pytest.mark.parametrize("name_length", range(0, 264, 8))
def test_no_length_of_the_header_is_taken_for_a_pickle(tmp_path: Path, name_length: int):
    """A safetensors file starts with the length of its header, which may look like a pickle."""
    checkpoint = Checkpoint(record=RECORD, tensors={"x" * (1 + name_length): torch.ones(1)})
    save_checkpoint(tmp_path / "checkpoint", checkpoint)
    assert load_checkpoint(tmp_path / "checkpoint").tensors.keys() == checkpoint.tensors.keys()


def test_a_full_disk_keeps_the_last_good_checkpoint(folder: Path):
    with full_disk(2000), pytest.raises(UserError, match="the last good checkpoint is") as caught:
        save_checkpoint(folder, checkpoint_of(2.0, size=10_000))
    assert str(folder) in str(caught.value)
    assert "free some space" in str(caught.value)
    assert load_checkpoint(folder, with_training=True).tensors["a"][0, 0] == 1
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_a_full_disk_without_an_earlier_checkpoint(tmp_path: Path):
    with full_disk(200), pytest.raises(UserError, match="there is no earlier checkpoint"):
        save_checkpoint(tmp_path / "checkpoint", checkpoint_of())
    assert list(tmp_path.iterdir()) == []


def test_death_between_the_two_renames(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The old checkpoint has moved aside, the new one is not in place: the old one counts."""

    class Killed(BaseException):
        pass

    rename = Path.rename

    def dying_rename(self: Path, target: Path) -> Path:
        if self.name == "checkpoint.new":
            raise Killed
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dying_rename)
    with pytest.raises(Killed):
        save_checkpoint(folder, checkpoint_of(2.0))
    assert find_checkpoint(folder) == folder.with_name("checkpoint.old")
    assert load_checkpoint(folder, with_training=True).tensors["a"][0, 0] == 1
    monkeypatch.undo()
    save_checkpoint(folder, checkpoint_of(3.0))
    assert find_checkpoint(folder) == folder
    assert load_checkpoint(folder).tensors["a"][0, 0] == 3
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_death_while_writing_leaves_the_old_one(folder: Path):
    half = folder.with_name("checkpoint.new")
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert load_checkpoint(folder).tensors["a"][0, 0] == 1
    save_checkpoint(folder, checkpoint_of(2.0))
    assert not half.exists()


def test_a_truncated_file_is_refused(folder: Path):
    path = folder / "model.safetensors"
    for size in (0, 5, 60, path.stat().st_size - 1):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(UserError, match=r"model\.safetensors is truncated .*copy it again"):
            load_checkpoint(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors"])
def test_an_altered_file_is_refused(folder: Path, name: str):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(UserError, match=rf"{name} was altered: its hash differs"):
        load_checkpoint(folder, with_training=True)


def test_a_missing_file_is_refused(folder: Path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors is missing; copy the whole"):
        load_checkpoint(folder)


def test_nan_weights_are_refused(folder: Path):
    for bad in (torch.nan, torch.inf):
        tensors = {"fine": torch.ones(2), "worse": torch.tensor([1.0, bad])}
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(UserError, match="NaN or infinite weights in worse"):
            load_checkpoint(folder)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("writer", ["torch", 2, 3, 4, 5])
def test_a_pickle_in_place_of_safetensors_is_never_loaded(folder: Path, writer: str | int):
    path = folder / "model.safetensors"
    if isinstance(writer, int):
        path.write_bytes(pickle.dumps(Bomb(), protocol=writer))
    else:
        torch.save({"a": Bomb()}, path)
    with pytest.raises(UserError, match="is a pickle, not safetensors; pickles are never loaded"):
        load_checkpoint(folder)


def test_a_folder_of_pickles_is_named(tmp_path: Path):
    (tmp_path / "model.pth.tar").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds model\.pth\.tar but no config\.json"):
        load_checkpoint(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"is not a checkpoint: there is no config\.json"):
        load_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"cannot read .*config\.json is truncated or altered"),
        ("[" * 100_000, r"config\.json is truncated or altered \(nested too deep\)"),
        ('{"format": 1, "step": ' + "1" * 5000 + "}", "a number of 5000 digits"),
        ('{"format": 1, "format": 1}', "'format' is there twice"),
        ("[]", "is not a checkpoint of format 1"),
        ('{"format": 99}', "is not a checkpoint of format 1"),
        ('{"format": 1}', "has no hashes"),
    ],
)
def test_a_damaged_config_is_refused(folder: Path, content: str, message: str):
    (folder / "config.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_checkpoint(folder)


def test_config_is_plain_json(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    assert set(config["sha256"]) == {"model.safetensors", "training.safetensors"}


def test_weights_must_fit_name_by_name():
    module = nn.Linear(2, 3)
    good = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
    load_weights(module, good, source="here")
    assert torch.equal(module.weight, torch.ones(3, 2))
    bad = {"weight": torch.zeros(2, 3), "extra": torch.ones(1)}
    message = (
        r"here does not fit its configuration: missing bias; unexpected extra; "
        r"weight is \(2, 3\) instead of \(3, 2\)"
    )
    with pytest.raises(UserError, match=message):
        load_weights(module, bad, source="here")
    assert torch.equal(module.weight, torch.ones(3, 2))
    many = {f"extra{i}": torch.ones(1) for i in range(20)}
    with pytest.raises(UserError, match="and 12 more"):
        load_weights(module, good | many, source="here")


def test_one_digit_of_the_record_is_noticed(folder: Path):
    path = folder / "config.json"
    path.write_text(path.read_text().replace("0.20000000298", "0.20000000299"))
    for read in (load_checkpoint, read_record):
        with pytest.raises(
            UserError, match=r"config\.json was altered: its own hash does not match"
        ):
            read(folder)


def test_a_record_of_before_the_seal_loads(folder: Path):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["seal"]
    path.write_text(json.dumps(config))
    record = load_checkpoint(folder, with_training=True).record
    assert isinstance(record, ModelRecord)
    assert record.experiment == RECORD.experiment


def test_the_data_of_the_training_is_kept(tmp_path: Path):
    record = replace(RECORD, data=TrainedOn(sha256="ab" * 32, image_size=64))
    save_checkpoint(tmp_path / "made", replace(checkpoint_of(), record=record))
    assert read_record(tmp_path / "made").data == record.data
    assert RECORD.data is None


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_weights_are_readable_as_the_umask_says(tmp_path: Path, mask: int, mode: int):
    before = os.umask(mask)
    try:
        save_checkpoint(tmp_path / "checkpoint", checkpoint_of())
    finally:
        os.umask(before)
    files = (tmp_path / "checkpoint").iterdir()
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {mode}


def test_a_link_in_the_place_of_the_new_one_is_not_followed(folder: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("mine")
    folder.with_name("checkpoint.new").symlink_to(other)
    save_checkpoint(folder, checkpoint_of(2.0))
    assert load_checkpoint(folder).tensors["a"][0, 0] == 2
    assert [file.name for file in other.iterdir()] == ["mine"]


def test_who_reads_while_it_is_replaced_reads_one_or_the_other(folder: Path):
    stop = threading.Event()

    def replace_it() -> None:
        value = 2.0
        while not stop.is_set():
            save_checkpoint(folder, checkpoint_of(value))
            value += 1

    writer = threading.Thread(target=replace_it)
    writer.start()
    try:
        for _ in range(150):
            found = load_checkpoint(folder, with_training=True).tensors["a"]
            assert len(found.unique()) == 1
            read_record(folder)
    finally:
        stop.set()
        writer.join()


def test_weights_of_a_type_that_no_model_has_are_refused(folder: Path):
    tensors = {"a": torch.ones(2).to(torch.float8_e4m3fn)}
    save_checkpoint(folder, replace(checkpoint_of(), tensors=tensors))
    with pytest.raises(UserError, match=r"a is of type torch\.float8_e4m3fn"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "config.json"])
def test_a_pipe_in_place_of_a_file_is_refused(folder: Path, name: str):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(UserError):  # and none waits for a writer
        load_checkpoint(folder, with_training=True)
