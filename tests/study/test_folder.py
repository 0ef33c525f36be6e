"""The folder of a study: jobs on disk, and whose folder it is."""

from pathlib import Path

import pytest

from jepawm.errors import UserError
from jepawm.study.folder import (
    TrainedModel,
    Work,
    open_folder,
    read_trained,
    read_work,
    write_trained,
    write_work,
)
from jepawm.study.jobs import Job
from jepawm.study.setup import Rules, Setup


def work_of(base: Setup, root: Path) -> Work:
    rules = Rules()
    return Work(
        job=Job(kind="train", id="abc", setup=base, model="abc", title="train it"),
        rules=rules,
        folder=open_folder(root, rules),
        data_root=root.parent / "data",
        device="cpu",
    )


def test_a_worker_reads_the_job_that_was_written(tmp_path: Path, base: Setup):
    work = work_of(base, tmp_path / "study")
    read = read_work(write_work(work))
    assert read == work
    assert read.job.setup.to_json() == base.to_json()
    write_trained(work, TrainedModel(seconds=1.5, parameters=7))
    assert work.folder.result(work.job).is_file()
    assert read_trained(work.folder, "abc") == TrainedModel(seconds=1.5, parameters=7)


def test_a_folder_serves_all_axes_of_one_study(tmp_path: Path):
    open_folder(tmp_path / "study", Rules())
    open_folder(tmp_path / "study", Rules())
    with pytest.raises(
        UserError, match=r"another study, with num_tasks 96 where this one has .*48"
    ):
        open_folder(tmp_path / "study", Rules(num_tasks=48))
    with pytest.raises(UserError, match="split 'test' where this one has split 'val'"):
        open_folder(tmp_path / "study", Rules(split="val"))


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all I have")
    with pytest.raises(UserError, match="is no folder of a study; choose another --out"):
        open_folder(tmp_path / "mine", Rules())
    with pytest.raises(UserError, match="is not a folder"):
        open_folder(tmp_path / "mine" / "thesis.txt", Rules())
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all I have"


def test_damaged_files_are_named(tmp_path: Path, base: Setup):
    work = work_of(base, tmp_path / "study")
    path = write_work(work)
    path.write_text(path.read_text()[:-30])
    with pytest.raises(UserError, match="truncated or altered"):
        read_work(path)
    (tmp_path / "study" / "study.json").write_text("[]")
    with pytest.raises(UserError, match="not an object"):
        open_folder(tmp_path / "study", Rules())
