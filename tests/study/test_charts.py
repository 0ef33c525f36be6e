"""Intervals as SVG: where things stand."""

import re

from jepawm.study.charts import Mark, interval_chart


def test_marks_stand_where_their_rates_are():
    marks = [
        Mark(label="a <b>", value=0.5, interval=(0.25, 1.2), paper=0.75),
        Mark(label="oracle", value=1.0, interval=(0.9, 1.0), tone=7),
    ]
    text = interval_chart(marks, title="Success")
    assert re.findall(r'cx="([\d.]+)"', text) == ["180.0", "354.0"]
    whisker = re.search(r'class="whisker" x1="([\d.]+)" x2="([\d.]+)"', text)
    assert whisker is not None
    assert whisker.groups() == ("93.0", "354.0")
    assert "M262.0 " in text
    assert "a &lt;b&gt;" in text
    assert "50.0 [25.0, 100.0]" in text
    assert "a &lt;b&gt;: 50.0 [25.0, 100.0] per cent, paper 75.0" in text
