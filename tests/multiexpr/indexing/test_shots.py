from dataclasses import replace
from types import SimpleNamespace

import pytest

from exprbench.media import VideoSource
from multiexpr.indexing import shots as cutting
from multiexpr.indexing.shots import find_spans
from multiexpr.recipe import Shots
from tests.multiexpr.indexing.test_listing import scenes


@pytest.fixture
def spans(monkeypatch):
    """`spans(30, [12.0], max_shot_s=20)`: the spans of a video of 30 s with a cut at 12 s."""

    def make(duration_s, cuts, **settings):
        monkeypatch.setattr(cutting, "probe", lambda _: SimpleNamespace(duration_s=duration_s))
        monkeypatch.setattr(cutting, "_detect_cuts", lambda *_: iter(cuts))
        return find_spans(VideoSource(path="a.mp4"), Shots(**settings))

    return make


WHOLE = [(0.0, None)]


def test_only_videos_longer_than_the_limit_are_cut(spans):
    assert spans(20.0, [], longer_than_s=20) == WHOLE
    assert spans(20.1, [], longer_than_s=20, max_shot_s=30) == [(0.0, 20.1)]
    assert spans(20.0, [], longer_than_s=20, cut="always", max_shot_s=30) == [(0.0, 20.0)]
    assert spans(50.0, [20.0], cut="never") == WHOLE


def test_shots_leave_a_margin_at_cuts_and_none_at_the_ends(spans):
    found = spans(40.0, [10.0, 25.0], margin_s=0.5, max_shot_s=30)
    assert found == [(0.0, 9.5), (10.5, 14.0), (25.5, 14.5)]


def test_shots_of_the_shortest_length_are_kept(spans):
    assert spans(40.0, [2.0], margin_s=0, min_shot_s=2.0, max_shot_s=50) == [(0.0, 2.0), (2.0, 38.0)]
    assert spans(40.0, [1.9], margin_s=0, min_shot_s=2.0, max_shot_s=50) == [(1.9, 38.1)]
    assert spans(40.0, [20.0], min_shot_s=30.0) == WHOLE  # nothing is long enough


def test_shots_of_the_longest_length_are_not_divided(spans):
    assert spans(30.0, [], max_shot_s=30) == [(0.0, 30.0)]
    assert spans(30.1, [], max_shot_s=30) == [(0.0, 15.05), (15.05, 15.05)]
    assert len(spans(0.1 + 0.2, [], max_shot_s=0.1, min_shot_s=0.05, cut="always")) == 3  # the sum is above 0.3


def test_cuts_are_found_by_the_recipes_own_numbers(tmp_path):
    video = VideoSource(path=str(scenes(tmp_path / "long.mp4")))
    bounds = Shots(cut="always", margin_s=0, min_shot_s=0, max_shot_s=100)
    assert [start for start, _ in find_spans(video, bounds)] == [0.0, 11.0, 12.0]
    assert find_spans(video, replace(bounds, min_change=250.0)) == [(0.0, 22.0)]
    assert find_spans(video, replace(bounds, ratio=1e6)) == [(0.0, 22.0)]
