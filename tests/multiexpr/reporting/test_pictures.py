"""Thumbnails and histograms of the report."""

import base64
import re

import cv2
import numpy as np
import pytest

from exprbench.media import VideoSource
from multiexpr.reporting.numbers import Histogram
from multiexpr.reporting.pictures import histogram_svg, thumbnail
from multiexpr.selection.rules import get_rule
from tests.multiexpr.collection import encode


def moments(path, count):
    """The colours of `count` pictures in a thumbnail, side by side, and its height and width."""
    data = np.frombuffer(base64.b64decode(thumbnail(VideoSource(path=path))), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    return [np.median(part, axis=(0, 1)) for part in np.split(picture, count, axis=1)], picture.shape[:2]


@pytest.mark.parametrize(
    ("width", "height", "shares"),
    [
        (64, 96, [0.15, 0.5, 0.85]),
        (96, 96, [0.15, 0.5, 0.85]),
        (160, 90, [0.5]),
        (128, 96, [0.25, 0.75]),
        (400, 96, [0.5]),
    ],
)
def test_a_thumbnail_shows_as_many_moments_as_fit_side_by_side_in_their_colours(tmp_path, width, height, shares):
    frames = [np.full((height, width, 3), (4 * i + 20, 40, 240 - 4 * i), np.uint8) for i in range(50)]
    colours, size = moments(encode(tmp_path / "a.mp4", frames), len(shares))
    assert size == (108, len(shares) * round(width * 108 / height))
    expected = [(4 * round(50 * share) + 20, 40, 240 - 4 * round(50 * share)) for share in shares]
    np.testing.assert_allclose(colours, expected, atol=12)


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
