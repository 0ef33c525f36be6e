"""Films: panels under their names, what differs, and files that play."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np

from jepawm.report.film import difference, lay_out, write_film


def pictures(count: int, value: int) -> np.ndarray:
    return np.full((count, 3, 20, 10), value, dtype=np.uint8)


def test_panels_stand_side_by_side_and_the_short_ones_wait():
    film = lay_out([[("a", pictures(3, 10)), (["b"], pictures(1, 200))], [("c", pictures(2, 90))]])
    assert film.shape[0] == 3
    assert film.shape[1] % 2 == film.shape[2] % 2 == 0
    for frame in film:
        assert {10, 200, 90} <= set(np.unique(frame).tolist())
    zoom = 192 // 20
    assert (film[0] == 10).all(-1).sum() == zoom**2 * 20 * 10


def test_names_may_change_with_the_pictures():
    film = lay_out([[(["one", "two"], pictures(2, 10))]])
    assert (film[0] != film[1]).any()


def test_what_differs_is_bright():
    other = pictures(2, 100)
    other[1, 2, 0, 0] = 30  # blue alone
    away = difference(pictures(2, 100), other)
    assert away[0].max() == 0
    assert away[1, :, 0, 0].tolist() == [70, 70, 70]
    assert away.sum() == 3 * 70


def test_films_play(tmp_path: Path):
    film = lay_out([[("a", pictures(3, 10))]])
    video, picture = write_film(film, tmp_path / "film", fps=2.0)
    assert [one.name for one in (video, picture)] == ["film.mp4", "film.gif"]
    assert iio.imread(video, plugin="pyav").shape == film.shape
    assert iio.imread(picture).shape[1:] == film.shape[1:]
