import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.errors import UserError
from jepawm.files import content_hash

FILES = ["actions.npy", "index.parquet", "pixels.npy", "proprio.npy", "state.npy"]


def test_episodes_read_back_as_written(store: EpisodeStore, make_episode):
    assert store.lengths.tolist() == [6, 9, 4]
    assert store.starts.tolist() == [0, 6, 15]
    assert store.num_actions.tolist() == [5, 8, 3]
    for episode in range(3):
        arrays = make_episode(episode, int(store.lengths[episode]))
        rows = slice(store.starts[episode], store.starts[episode] + store.lengths[episode])
        assert np.array_equal(store.pixels[rows], arrays["pixels"])
        assert np.array_equal(store.actions[rows][:-1], arrays["actions"])
        assert not store.actions[rows][-1].any()  # padding
        assert np.array_equal(store.proprio[rows], arrays["proprio"])
        assert np.array_equal(store.state[rows], arrays["state"])
    assert store.state.dtype == np.float64


def test_frames_reads_any_rows(store: EpisodeStore):
    frames = store.frames(np.array([[0, 5], [6, 18]]))
    assert frames.shape == (2, 2, 3, 4, 4)
    assert frames[..., 0, 0, 0].tolist() == [[0, 5], [20, 43]]


def test_statistics_leave_padding_out(store: EpisodeStore, make_episode):
    actions = np.concatenate([make_episode(e, n)["actions"] for e, n in enumerate((6, 9, 4))])
    proprio = np.concatenate([make_episode(e, n)["proprio"] for e, n in enumerate((6, 9, 4))])
    statistics = store.manifest.statistics
    assert statistics.action_mean == pytest.approx(actions.mean(0, dtype=np.float64))
    assert statistics.action_std == pytest.approx(actions.std(0, ddof=1, dtype=np.float64))
    assert statistics.proprio_mean == pytest.approx(proprio.mean(0, dtype=np.float64))
    assert statistics.proprio_std == pytest.approx(proprio.std(0, ddof=1, dtype=np.float64))
    normalizer = store.normalizer()
    assert normalizer.action_mean.tolist() == pytest.approx(statistics.action_mean)


def test_manifest_counts_and_provenance(store: EpisodeStore):
    manifest = store.manifest
    assert (manifest.num_episodes, manifest.num_frames, manifest.num_actions) == (3, 19, 16)
    assert (manifest.image_size, manifest.action_dim, manifest.proprio_dim) == (4, 2, 3)
    assert (manifest.environment, manifest.seed, manifest.settings) == ("toy", 7, {"speed": 0.5})
    assert sorted(manifest.files) == FILES


def test_plain_numpy_opens_the_arrays(store_path: Path):
    assert np.load(store_path / "pixels.npy").shape == (19, 3, 4, 4)
    assert torch.from_numpy(np.load(store_path / "actions.npy")).dtype == torch.float32


def test_moved_store_opens(store_path: Path, tmp_path: Path):
    shutil.move(store_path, tmp_path / "elsewhere")
    open_store(tmp_path / "elsewhere").verify()


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_missing_file(store_path: Path, name: str):
    (store_path / name).unlink()
    with pytest.raises(UserError, match=name):
        open_store(store_path)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_truncated_file(store_path: Path, name: str):
    data = (store_path / name).read_bytes()
    (store_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=rf"{name} is truncated"):
        open_store(store_path)


@pytest.mark.parametrize("name", FILES)
def test_altered_file(store_path: Path, name: str):
    data = bytearray((store_path / name).read_bytes())
    data[-5] ^= 1
    (store_path / name).write_bytes(data)
    with pytest.raises(UserError, match=rf"{name} was altered"):
        open_store(store_path)


def test_large_altered_file_is_found_by_verify(store_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jepawm.data.manifest._HASHED_WHEN_OPENED", 10)
    data = bytearray((store_path / "pixels.npy").read_bytes())
    data[-5] ^= 1
    (store_path / "pixels.npy").write_bytes(data)
    with pytest.raises(UserError, match=r"pixels.npy was altered"):
        open_store(store_path).verify()


def test_too_long_file(store_path: Path):
    with (store_path / "state.npy").open("ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match="too long"):
        open_store(store_path)


def test_edited_manifest(store_path: Path):
    path = store_path / "manifest.json"
    path.write_text(path.read_text().replace('"speed": 0.5', '"speed": 0.7'))
    with pytest.raises(UserError, match=r"manifest\.json was altered"):
        open_store(store_path)


def test_newer_version(store_path: Path):
    path = store_path / "manifest.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(UserError, match="version 2"):
        open_store(store_path)


def test_other_json_is_no_store(tmp_path: Path):
    (tmp_path / "manifest.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(UserError, match="not the manifest"):
        open_store(tmp_path)


def test_nothing_there(tmp_path: Path):
    with pytest.raises(UserError, match="there is no episode store"):
        open_store(tmp_path / "absent")
    with pytest.raises(UserError, match="not an episode store"):
        open_store(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        open_store(tmp_path / "file")


def test_half_written_store_says_so(tmp_path: Path):
    (tmp_path / "wall.partial-0a1b2c3d").mkdir()
    with pytest.raises(UserError, match=r"never finished.*wall\.partial-0a1b2c3d.*delete"):
        open_store(tmp_path / "wall")


def _rewrite(store_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sizes and hashes agree again, as if the store had been written like this."""
    from jepawm.data import episodes
    from jepawm.data.manifest import digest_file, read_manifest

    manifest = read_manifest(store_path)
    manifest.files[name] = digest_file(store_path / name)
    monkeypatch.setattr(episodes, "read_manifest", lambda _: manifest)


def test_nan_actions_are_refused_when_opened(store_path: Path, monkeypatch: pytest.MonkeyPatch):
    actions = np.load(store_path / "actions.npy")
    actions[8, 1] = np.nan
    np.save(store_path / "actions.npy", actions)
    _rewrite(store_path, "actions.npy", monkeypatch)
    with pytest.raises(UserError, match=r"NaN or infinite value in episode 1, step 2"):
        open_store(store_path)


def test_other_shape_or_pickle_is_refused(store_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.save(store_path / "actions.npy", np.zeros((19, 3), dtype=np.float32))
    _rewrite(store_path, "actions.npy", monkeypatch)
    with pytest.raises(UserError, match=r"holds float32 \(19, 3\)"):
        open_store(store_path)
    np.save(store_path / "actions.npy", np.array([{}]), allow_pickle=True)
    _rewrite(store_path, "actions.npy", monkeypatch)
    with pytest.raises(UserError, match="damaged or no array of a store"):
        open_store(store_path)


def reseal(folder: Path, **changes: object) -> None:
    """Change a manifest as someone would who makes a store to harm its reader."""
    content = json.loads((folder / "manifest.json").read_text()) | changes
    del content["sha256"]
    content["sha256"] = content_hash(content)
    (folder / "manifest.json").write_text(json.dumps(content))


DIGEST = {"num_bytes": 3, "sha256": "x"}


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {"../secret": DIGEST}},
        {"files": {"/etc/hostname": DIGEST}},
        {"files": {"link": DIGEST}},
        {"files": {"pipe": DIGEST}},
        {"files": {"pixels.npy": 3}},
        {"files": {"pixels.npy": {"num_bytes": "3", "sha256": "x"}}},
        {"files": ["pixels.npy"]},
        {"statistics": None},
        {"statistics": {"action_mean": 3}},
        {
            "statistics": {
                "action_mean": [0.0, "x"],
                "action_std": [1.0, 1.0],
                "proprio_mean": None,
                "proprio_std": None,
            }
        },
        {"num_frames": -1},
        {"num_frames": 10**30},
        {"num_frames": "19"},
        {"image_size": 0},
        {"image_size": 2.5},
        {"action_dim": 10**12},
        {"proprio_dim": 0},
        {"state_dim": [2]},
        {"environment": None},
        {"pixel_encoding": 3},
        {"settings": []},
        {"seed": "7"},
        {"fps": -3},
        {"fps": "fast"},
        {"source": "there"},
        {"source": {"format": 1, "name": "", "sha256": "", "camera": ""}},
    ],
    ids=str,
)
def test_a_manifest_of_other_values_is_refused(
    store_path: Path, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JEPAWM_DATA", str(store_path.parent / "elsewhere"))
    (store_path.parent / "secret").write_text("abc")
    (store_path / "link").symlink_to("../secret")
    os.mkfifo(store_path / "pipe")
    reseal(store_path)
    open_store(store_path)
    reseal(store_path, **changes)
    with pytest.raises(UserError, match=str(store_path)):
        open_store(store_path)


def test_a_manifest_elsewhere_is_not_read(store_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JEPAWM_DATA", str(store_path.parent / "elsewhere"))
    (store_path / "manifest.json").rename(store_path.parent / "secret.json")
    (store_path / "manifest.json").symlink_to("../secret.json")
    with pytest.raises(UserError, match=r"manifest\.json lies outside of the folder \(a link\)"):
        open_store(store_path)


def test_a_rate_of_0_of_the_first_versions_is_none(store_path: Path):
    reseal(store_path, fps=0.0)
    assert open_store(store_path).manifest.fps is None


def test_an_index_of_other_types_is_refused(store_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = store_path / "index.parquet"
    table = pq.read_table(file)
    for name, column in (
        ("start", pa.array(["0", "6", "15"])),
        ("num_frames", pa.array([6, None, 4])),
        ("num_frames", pa.array([6.0, 9.0, 4.0])),
        ("task", pa.array([1, 2, 3])),
        ("task", pa.array(["a", None, "b"])),
    ):
        kept = table.drop_columns([name]) if name in table.column_names else table
        pq.write_table(kept.append_column(name, column), file)
        _rewrite(store_path, file.name, monkeypatch)
        with pytest.raises(UserError, match=f"{name} is no column of"):
            open_store(store_path)


def test_index_must_agree(store_path: Path, monkeypatch: pytest.MonkeyPatch):
    table = pq.read_table(store_path / "index.parquet")
    lengths = pa.array([7, 8, 4])
    changed = table.set_column(table.column_names.index("num_frames"), "num_frames", lengths)
    pq.write_table(changed, store_path / "index.parquet")
    _rewrite(store_path, "index.parquet", monkeypatch)
    with pytest.raises(UserError, match="disagrees with the manifest"):
        open_store(store_path)
    pq.write_table(table.drop_columns(["start"]), store_path / "index.parquet")
    _rewrite(store_path, "index.parquet", monkeypatch)
    with pytest.raises(UserError, match=r"lacks the columns \['start'\]"):
        open_store(store_path)


def test_statistics_of_the_first_episodes(store: EpisodeStore, make_episode):
    parts = [make_episode(episode, length) for episode, length in enumerate((6, 9))]
    found = store.statistics(num_episodes=2)
    actions = np.concatenate([part["actions"] for part in parts])
    proprio = np.concatenate([part["proprio"] for part in parts])
    assert found.action_mean == pytest.approx(actions.mean(0))
    assert found.action_std == pytest.approx(actions.std(0, ddof=1))
    assert found.proprio_mean == pytest.approx(proprio.mean(0))
    assert store.statistics(num_episodes=3) == store.statistics() == store.manifest.statistics
