"""Histograms of the report."""

import re

import numpy as np

from multiexpr.reporting.histogram_svg import histogram_svg
from multiexpr.reporting.numbers import Histogram
from multiexpr.selection.rules import get_rule


def test_a_drawing_has_a_bar_for_each_count_in_the_colour_of_its_side():
    plot = Histogram(get_rule("dark", ["sharpness"]), np.array([0, 1, 1000, 500]), np.linspace(0, 400, 5), 250, 1501, 9)
    bars = re.findall(
        r'class="(in|out)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', histogram_svg(plot)
    )
    assert [(kind, *map(float, numbers)) for kind, *numbers in bars] == [
        ("out", 0, 96, 79, 0), ("out", 80, 94.5, 79, 1.5), ("in", 160, 0, 79, 96), ("in", 240, 48, 79, 48)]  # fmt: skip
    assert "<title>200 to 300: 1,000</title>" in histogram_svg(plot)
    assert 'class="limit" x1="200.0" x2="200.0"' in histogram_svg(plot)
    assert "mean brightness in [0, 1]: 1501 clips, threshold 250" in histogram_svg(plot)


def test_values_above_a_largest_value_allowed_fails_unless_the_rule_is_off():
    rule, counts, edges = get_rule("long", ["container"]), np.array([1, 1]), np.linspace(0, 2, 3)
    assert re.findall('(?:in|out)(?=" x)', histogram_svg(Histogram(rule, counts, edges, 1.0, 2, 1))) == ["in", "out"]
    off = histogram_svg(Histogram(rule, counts, edges, 0.0, 2, 0))
    assert re.findall('(?:in|out)(?=" x)', off) == ["in", "in"]
    assert "limit" not in off
    assert ">0.5<" not in off
    assert 'text-anchor="end">2<' in off
