import math

import numpy as np
import pytest

from jepawm.report.charts import (
    MAX_POINTS,
    Chart,
    Series,
    is_drawable,
    render_chart,
    shown_text,
    thin,
)


def test_thin_keeps_the_mean_and_the_ends():
    curve = thin(
        Series(label="", xs=[float(i) for i in range(1000)], ys=[float(i % 2) for i in range(1000)])
    )
    assert len(curve.xs) <= MAX_POINTS
    assert curve.xs[-1] == 999
    assert np.mean(curve.ys) == pytest.approx(0.5, abs=0.01)


def chart_of(ys: list[float], *, logarithmic: bool) -> str:
    series = Series(label="curve", xs=[float(x) for x in range(len(ys))], ys=ys)
    return render_chart(
        Chart(
            name="one",
            title="Title",
            x_label="step",
            caption="Caption.",
            series=(series,),
            logarithmic=logarithmic,
        )
    )


def heights(svg: str) -> list[float]:
    points = svg.split('points="')[1].split('"', maxsplit=1)[0]
    return [float(point.split(",")[1]) for point in points.split()]


def test_equal_ratios_are_equal_distances_on_a_logarithmic_axis():
    first, second, third = heights(chart_of([1.0, 10.0, 100.0], logarithmic=True))
    assert first - second == pytest.approx(second - third, abs=0.2)
    assert first > second


def test_values_that_are_not_positive_make_the_axis_linear():
    svg = chart_of([-50.0, 0.0, 50.0], logarithmic=True)
    assert "linear axis" in svg
    first, second, third = heights(svg)
    assert first - second == pytest.approx(second - third, abs=0.2)


@pytest.mark.parametrize(
    "ys", [[3.0], [0.0, 0.0], [1e-9, 1e9], [-2.0, -2.0], [1e100, -1e100], [1e-100, 1e100], [1e20]]
)
def test_odd_ranges_stay_inside_the_picture(ys):
    for logarithmic in (False, True):
        svg = chart_of(ys, logarithmic=logarithmic)
        assert "nan" not in svg
        assert "inf" not in svg


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-150, 10**400])
def test_what_axes_cannot_show_is_not_drawn(value: float):
    assert not is_drawable(value)
    if isinstance(value, float):
        curve = thin(Series(label="", xs=[0.0, 1.0, value], ys=[1.0, value, 2.0]))
        assert (curve.xs, curve.ys) == ([0.0], [1.0])


def test_steps_beyond_the_precision_of_floats_have_an_axis():
    series = Series(label="", xs=[1e30], ys=[1.0])
    chart = Chart(name="one", title="Title", x_label="step", caption="", series=(series,))
    assert "nan" not in render_chart(chart)


def test_a_text_of_a_file_stays_short_and_harmless():
    assert shown_text("wall \x1b[31m\ud800\u202e") == r"wall \x1b[31m\ud800\u202e"
    assert len(shown_text("x" * 100_000)) < 300
