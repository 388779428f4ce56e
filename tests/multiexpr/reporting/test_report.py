import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from multiexpr import report
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.recipe import load_recipe
from multiexpr.reporting.markup import Html, table, text
from multiexpr.reporting.numbers import _union_s, histograms, time_spent
from multiexpr.reporting.pictures import histogram_svg
from multiexpr.storage.workspace import Workspace
from tests.multiexpr.exporting.test_export import kept_workspace
from tests.multiexpr.made import fill, good, random_clips

ONE = ExecutionConfig(workers=0)


class Checker(HTMLParser):
    """Parser that checks that every element is closed, and collects text and sources."""

    EMPTY = {"meta", "br", "img"}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.open, self.words, self.sources = [], [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def checked(path):
    page = Checker()
    page.feed(path.read_text())
    assert page.open == []
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    return page


def test_the_page_is_one_file_with_all_sections(tmp_path, drawn):
    shutil.copytree(drawn, tmp_path / "root")
    (tmp_path / "root/a.mp4").rename(tmp_path / "root/<script>alert('x')&.mp4")
    workspace = kept_workspace(tmp_path / "root", tmp_path / "out")
    page = checked(report(workspace.root, execution=ONE))
    words = " ".join(page.words)
    assert len(page.sources) == 4  # a picture of every kept clip
    assert "<script>alert('x')&.mp4" in words  # escaped: it is text
    assert "100.00 %" in words
    assert "largest sudden change between frames" in words


def test_counts_histograms_and_errors_are_those_of_the_scores(workspace, recipe):
    clips = [*random_clips(50), *[{"container": "truncated"}] * 3]
    fill(workspace, [clips[:30], clips[30:]])
    page = checked(report(workspace.root, recipe=recipe, execution=ONE))
    words = " ".join(page.words)
    assert re.search(r"truncated\s+3", words)
    plots, num_drawn = histograms(workspace, recipe)
    assert num_drawn == 53
    for plot in plots:
        assert plot.counts.sum() == plot.num_clips
    by_name = {plot.rule.name: plot for plot in plots}
    lengths = np.array([clip["container"]["length_s"] for clip in clips[:50]])
    assert by_name["short"].num_failing == (lengths < 2).sum()
    assert by_name["long"].num_failing == (lengths > 30).sum()


def test_the_threshold_line_is_at_the_threshold(workspace, recipe):
    fill(workspace, [[good(luma=v) for v in np.linspace(0, 1, 101)]])
    (plot,) = [
        p
        for p in histograms(workspace, load_recipe(None, ["keep.sharpness.min_luma=0.25"]))[0]
        if p.rule.name == "dark"
    ]
    svg = histogram_svg(plot)
    (line,) = re.findall(r'class="limit" x1="([0-9.]+)"', svg)
    assert float(line) == pytest.approx(320 * 0.25 / plot.edges[-1], abs=0.1)
    assert svg.count('class="out"') == 10


def test_a_histogram_of_one_value_can_be_drawn(workspace, recipe):
    fill(workspace, [[good()]])
    plots, _ = histograms(workspace, recipe)
    assert all(histogram_svg(plot).startswith("<svg") for plot in plots)


def test_pauses_between_runs_are_not_counted():
    shards = [{"started": s, "wall_s": w} for s, w in ((0.0, 10.0), (5.0, 10.0), (100.0, 1.0))]
    assert _union_s(shards) == 16.0


def test_time_is_summed_per_stage_and_scorer(workspace):
    from exprbench.core.files import write_json

    timing = {"started": 0.0, "wall_s": 2.0, "spent_s": {"people": 1.0}, "clips": 4, "errors": 0}
    for shard in range(3):
        write_json(workspace.timings("score") / f"{shard:05d}.json", {**timing, "started": 2.0 * shard})
    (total,) = time_spent(workspace)
    assert (total.stage, total.num_clips, total.wall_s, total.by_scorer_s) == ("score", 12, 6.0, {"people": 3.0})


def test_markup_escapes_text():
    assert text("<b>") == "&lt;b&gt;"
    assert text(Html("<b>")) == "<b>"
    assert text(1234567) == "1,234,567"
    assert '<td class="n">3</td>' in table([["<x>", 3]])
    assert "&lt;x&gt;" in table([["<x>", 3]])


def test_a_report_before_anything_was_scored(tmp_path, drawn):
    from multiexpr import index

    index(drawn, tmp_path / "out", execution=ONE)
    page = checked(report(Workspace(tmp_path / "out").root, execution=ONE))
    assert "not scored yet" in " ".join(page.words)
