import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from exprbench.core.errors import ItemError
from exprbench.core.files import write_json
from exprbench.media import probe
from multiexpr import report, select
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.recipe import load_recipe
from multiexpr.reporting import clip_figures
from multiexpr.reporting.clip_figures import make_figures
from multiexpr.reporting.funnel import funnel_lines
from multiexpr.reporting.histogram_svg import histogram_svg
from multiexpr.reporting.numbers import _union_s, find_clip_row, histograms, time_spent
from multiexpr.storage.parquet import write_rows
from multiexpr.storage.workspace import Workspace
from tests.multiexpr.exporting.test_export import kept_workspace
from tests.multiexpr.made import dropped_at, failed_at, fill, good, random_clips
from tests.writing import assert_atomic

ONE = ExecutionConfig(workers=0)


class Checker(HTMLParser):
    """Parser that checks that every element is closed, and collects text and sources."""

    EMPTY = {"meta", "br", "img"}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.open, self.words, self.sources, self.links = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name == "src"]
        self.links += [value for name, value in attrs if name == "href"]
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
    assert all((path.parent / link).is_file() for link in page.links)
    return page


def test_the_page_has_all_sections_and_a_video_of_every_example(tmp_path, drawn):
    shutil.copytree(drawn, tmp_path / "root")
    (tmp_path / "root/a.mp4").rename(tmp_path / "root/<script>alert('x')&.mp4")
    workspace = kept_workspace(tmp_path / "root", tmp_path / "out")
    page = checked(report(workspace.root, execution=ONE))
    words = " ".join(page.words)
    assert len(page.sources) == len(page.links) == 4  # a picture and a video of every kept clip
    assert probe(workspace.previews / Path(page.links[0]).name).codec == "h264"
    assert len(list(workspace.previews.iterdir())) == 4
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
    timing = {"started": 0.0, "wall_s": 2.0, "spent_s": {"people": 1.0}, "clips": 4, "errors": 0}
    for shard in range(3):
        write_json(workspace.timings("score") / f"{shard:05d}.json", {**timing, "started": 2.0 * shard})
    (total,) = time_spent(workspace)
    assert (total.stage, total.num_clips, total.wall_s, total.by_scorer_s) == ("score", 12, 6.0, {"people": 3.0})


def test_a_report_before_anything_was_scored(tmp_path, drawn):
    from multiexpr import index

    index(drawn, tmp_path / "out", execution=ONE)
    page = checked(report(Workspace(tmp_path / "out").root, execution=ONE))
    assert "not scored yet" in " ".join(page.words)


# The funnel as text


def test_the_funnel_as_text_names_what_dropped_clips_and_every_other_end():
    funnel = {
        "clips": 20_000, "kept": 5, "dropped": 4_995, "errors": {"truncated": 1}, "pending": 14_999,
        "steps": [{"reason": "short", "came": 9, "dropped": 4_995}, {"reason": "dark", "came": 3, "dropped": 0}],
    }  # fmt: skip
    assert [re.sub(" +", " ", line) for line in funnel_lines(funnel)] == [
        "clips 20,000 100.00 %",
        " dropped: short 4,995 24.98 %",
        " error: truncated 1 0.01 %",
        " not scored yet 14,999 75.00 %",
        "kept 5 0.03 %",
    ]
    assert len({line.index("%") for line in funnel_lines(funnel)}) == 1  # columns stand below each other
    empty = {"clips": 0, "kept": 0, "dropped": 0, "errors": {}, "pending": 0, "steps": []}
    assert [line.split() for line in funnel_lines(empty)] == [["clips", "0"], ["kept", "0"]]


# The page


def cells(path, first):
    """The other cells of the table row that begins with `first`, without markup."""
    for row in re.findall("<tr>(.*?)</tr>", path.read_text()):
        words = [unescape(re.sub("<.*?>", "", cell)).strip() for cell in re.findall("<td[^>]*>(.*?)</td>", row)]
        if words[:1] == [first]:
            return words[1:]
    return None


class NoPictures:
    """Pool of workers that can read no clip."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, requests):
        return [(key, ItemError("unreadable", "")) for key, _ in requests]


@pytest.fixture
def written(workspace, monkeypatch):
    """`written(shards, *changes)`: the report about made-up clips, which have no pictures."""
    monkeypatch.setattr(clip_figures, "clip_pool", NoPictures)

    def write(shards, *changes, **options):
        fill(workspace, shards)
        return report(workspace.root, recipe=load_recipe(None, list(changes)), **options)

    return write


CLIPS = [*[good()] * 4, *[good(luma=0.0)] * 3, dropped_at("people", people_confidence=[0.1] * 10),
         failed_at("people"), failed_at("cuts"), *[dropped_at("sharpness")] * 6]  # fmt: skip


def test_the_funnel_counts_what_each_rule_dropped_errors_and_kept(written):
    path = written([CLIPS])
    assert cells(path, "all clips") == ["", "16", "100.00 %", ""]
    assert cells(path, "dark") == ["mean brightness in [0, 1]", "3", "18.75 %", ""]
    assert cells(path, "few_people") == ["share of frames with enough people", "1", "6.25 %", ""]
    assert cells(path, "errors")[1:3] == ["2", "12.50 %"]
    assert cells(path, "kept") == ["", "4", "25.00 %", ""]
    shown = re.sub("<.*?>", " ", re.search('<div class="numbers">(.*?)</div></div>', path.read_text())[1])
    assert re.sub(" +", " ", shown).strip() == (
        "16 clips 100.00 % 4 kept 25.00 % 4 dropped 25.00 % 2 errors 12.50 % 6 not scored yet 37.50 %"
    )
    assert "kind of collection: <b>folder</b>" in path.read_text()
    bars = re.findall(r'<span class="(in|out)" style="width:([0-9.]+)%"', path.read_text())
    assert bars == [("in", "100.00"), ("out", "6.25"), ("out", "18.75"), ("out", "12.50"), ("in", "25.00")]


def test_clips_that_all_have_scores_leave_nothing_to_be_scored(written):
    path = written([[good()] * 2])
    assert "not scored yet" not in path.read_text()
    assert '<span class="out"' not in path.read_text()  # nothing was dropped: no bar


def test_a_recipe_is_compared_with_the_one_in_use_and_nothing_is_saved(written, workspace):
    written([[good(luma=0.1)] * 3 + [good()] * 2 + [good(face_expression=[1.0, 2.0])]])
    select(workspace.root)
    before = workspace.recipe.read_bytes(), workspace.verdicts.read_bytes()
    changed = load_recipe(None, ["keep.sharpness.min_luma=0.3", "keep.motion.min_expression=0.9"])
    path = report(workspace.root, recipe=changed)
    assert (workspace.recipe.read_bytes(), workspace.verdicts.read_bytes()) == before
    words = " ".join(checked(path).words)
    assert f"multiexpr select {workspace.root} --set keep.sharpness.min_luma=0.3" in words
    assert "5 clips are kept with the settings in use, and 3 with the changed ones (-2)." in words
    assert cells(path, "keep.motion.min_expression") == ["1.1", "0.9"]
    assert cells(path, "inexpressive") == [
        "variation of mouth, eyes and brows in % of the eye distance",
        "1",
        "16.67 %",
        "",
    ]
    moves = re.findall("<td>(kept|inexpressive)</td><td>(dark|kept)</td><td[^>]*>([0-9]+)</td>", path.read_text())
    assert moves == [("kept", "dark", "3"), ("inexpressive", "kept", "1")]
    changed_figures = path.read_text().split("<h2>")[2]
    assert re.findall("<h3>(.*?)</h3>", changed_figures) == ["would be kept", "would be dropped"]
    assert changed_figures.count("<figure>") == 4
    assert "in use: it passes every rule<br>changed: dark (mean brightness" in changed_figures
    assert "Changed thresholds" not in report(workspace.root).read_text()


def test_the_first_recipe_is_the_one_in_use(written, workspace):
    path = written([[good()]], "keep.sharpness.min_luma=0.3")
    assert "Changed thresholds" not in path.read_text()
    assert "at least 0.3." in path.read_text()


def test_thresholds_are_said_with_their_side_and_what_fails_them(written):
    path = written([[good(luma=0.1), *[good(length_s=40.0)] * 3]], "keep.sharpness.min_luma=0.25",
                   "keep.people.max_people=0")  # fmt: skip
    words = " ".join(checked(path).words)
    assert "mean brightness in [0, 1]: at least 0.25. 4 clips, 1 fail (25.00 %)" in words
    assert "length in seconds: at most 30. 4 clips, 3 fail (75.00 %)" in words
    assert "people in at least half of the frames: off. 4 clips, 0 fail (0.00 %)" in words
    assert "evenly chosen" not in words


def test_a_page_drawn_from_some_of_the_clips_says_so(written, monkeypatch):
    monkeypatch.setattr("multiexpr.reporting.numbers.MAX_SHARDS", 2)
    path = written([[good()] * 2] * 5)
    assert "The histograms show 4 evenly chosen clips." in path.read_text()


def test_examples_say_what_they_are_of_and_why(written, workspace):
    path = written([[good(), good(luma=0.0)]])
    figures = re.findall("<figure>(.*?)</figure>", path.read_text())
    clip_id = "0" * 19 + "1"
    assert len(figures) == 2
    assert f"<code>{clip_id[:10]}</code> {clip_id}.mp4" in figures[1]
    assert "no picture" in figures[1]
    assert "brightness" in figures[1]


def test_errors_are_listed_by_code_and_clip_and_none_are_said_to_be_none(written, workspace):
    path = written([[failed_at("people"), failed_at("container", "truncated"), failed_at("people")]])
    assert cells(path, "decode_errors") == ["2"]
    assert cells(path, "truncated") == ["1"]
    assert cells(path, "0" * 10)[1:] == ["decode_errors", "synthetic"]
    assert "None." not in path.read_text()


def test_mismatches_are_counted_with_their_meaning(written, workspace):
    write_rows(
        workspace.mismatches,
        [{"kind": k} for k in ("duplicate", "odd", "duplicate")],
        pa.schema([("kind", pa.string())]),
    )
    path = written([[good()]])
    assert cells(path, "duplicate") == ["files with an equal name or equal content", "2"]
    assert cells(path, "odd") == ["", "1"]
    assert "None." in path.read_text()  # no errors
    workspace.mismatches.unlink()
    assert "Tables and files match." in written([[good()]]).read_text()


def test_throughput_is_in_clips_a_second_and_milliseconds_a_clip(written, workspace):
    timing = {"started": 0.0, "wall_s": 1600.0, "spent_s": {"people": 2.0, "cuts": 0.5}, "clips": 400, "errors": 0}
    write_json(workspace.timings("score") / "00000.json", timing)
    write_json(workspace.timings("export") / "00000.json", {**timing, "wall_s": 0.0, "clips": 0, "spent_s": {"a": 1.0}})
    path = written([[good()]])
    assert cells(path, "score") == ["400", "1,600.0", "0.25", "cuts 1, people 5"]
    assert cells(path, "export") == ["0", "0.0", "", "a 1000"]


def test_the_page_appears_whole_or_not_at_all(written, workspace, monkeypatch):
    path = written([[good()]])
    assert path.read_text().startswith("<!doctype html>")
    assert_atomic(lambda: report(workspace.root), path, monkeypatch)


def test_pictures_are_made_once_per_clip_with_the_workers_and_the_recipe_given(workspace, monkeypatch):
    fill(workspace, [[good(), good()]])
    opened = []

    class Workers(NoPictures):
        def __init__(self, root, recipe, *, num_workers):
            opened.append((root, recipe, num_workers))

        def map(self, requests):
            asked = list(requests)
            opened.append(asked)
            return [(key, "AA" if key.endswith("0") else ItemError("truncated", "")) for key, _ in asked]

    monkeypatch.setattr(clip_figures, "clip_pool", Workers)
    recipe = load_recipe(None, ["score.clip_timeout_s=7"])
    clips = [find_clip_row(workspace, f"{i:020d}", 0) for i in (0, 1)]
    figures = make_figures(workspace, recipe, [*clips, clips[0]], changed=None, execution=ExecutionConfig(workers=3))
    assert opened[0] == ("/nowhere", recipe, 3)
    assert [key for key, _ in opened[1]] == [clip["clip_id"] for clip in clips]
    assert [figure.moments for figure in figures.values()] == ["AA", None]
    assert "no picture" in figures[clips[1]["clip_id"]].markup()


def test_people_are_named_with_the_rule_that_they_fail(written, workspace):
    path = written([[good(face_luma=[0.4, 0.01])]])
    (figure,) = re.findall("<figcaption>(.*?)</figcaption>", path.read_text())
    assert "person 1 counts<br>person 2 does not count: dark_faces (mean brightness of the face" in figure


def test_videos_of_earlier_reports_are_removed_and_the_others_kept(tmp_path, drawn):
    workspace = kept_workspace(drawn, tmp_path / "out")
    report(workspace.root, execution=ONE)
    first, *others = sorted(workspace.previews.iterdir())
    times = [path.stat().st_mtime_ns for path in others]
    first.rename(workspace.previews / "old.mp4")
    report(workspace.root, execution=ONE)
    assert sorted(workspace.previews.iterdir()) == sorted([first, *others])
    assert [path.stat().st_mtime_ns for path in others] == times
