"""The report in a real browser, opened from disk: clips play, nothing is fetched, names are text."""

import shutil

import pytest

from exprbench.media import probe
from multiexpr import report
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.recipe import load_recipe
from tests.browser import needs_browser, open_browser
from tests.multiexpr.exporting.test_export import kept_workspace

pytestmark = [pytest.mark.slow, needs_browser]

PLAY = """
const [done] = arguments;
document.querySelector("a.play").click();
const video = document.querySelector("video");
video.addEventListener("timeupdate", () => {
  if (video.currentTime > 0.2) done([video.videoWidth, video.videoHeight]);
});
"""


def test_a_click_plays_a_clip_and_a_hostile_name_does_nothing(tmp_path, drawn):
    shutil.copytree(drawn, tmp_path / "root")
    (tmp_path / "root/a.mp4").rename(tmp_path / "root/<img src=x onerror=alert(1)>.mp4")
    workspace = kept_workspace(tmp_path / "root", tmp_path / "out")
    path = report(
        workspace.root, recipe=load_recipe(None, ["keep.motion.min_expression=9"]), execution=ExecutionConfig(workers=0)
    )
    with open_browser() as browser:
        browser.open("about:blank")
        browser.log(), browser.requests()
        browser.open(path.as_uri())
        assert browser.run("return document.querySelectorAll('figure').length") == 8  # 4 kept, 4 that would be dropped
        assert browser.run("return document.images.length") == 8
        facts = probe(drawn / "a.mp4")
        assert browser.run(PLAY, kind="async") == [facts.width, facts.height]
        browser.run("document.querySelector('a.play').click()")
        assert browser.run("return document.querySelectorAll('video').length") == 2
        assert browser.run("return document.querySelector('video').paused")  # only the last one plays
        assert {url.split(":")[0] for url in browser.requests()} <= {"file", "data"}
        assert browser.log() == []  # no error in the console
