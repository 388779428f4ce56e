"""The page in a real browser, opened from disk: chromedriver plays every video and clicks every answer."""

import json

import pytest

from exprbench import aggregate_study
from exprbench.study.answer_files import Rules
from exprbench.study.study_key import load_key
from tests.browser import needs_browser, open_browser
from tests.study.conftest import METHODS, answers_of

pytestmark = [pytest.mark.slow, needs_browser]

# Plays the video of the current trial, chooses `scores` and goes on; calls back with the number of results played.
ANSWER = """
const [scores, done] = arguments;
const results = [...document.querySelectorAll(".result video")];
document.querySelectorAll("video").forEach((v) => { v.playbackRate = 8; });
if (document.querySelectorAll("fieldset:not(:disabled)").length) return done("answers before the video was played");
let ended = 0;
results.forEach((v) => v.addEventListener("ended", () => { ended += 1; }, { once: true }));
document.getElementById("play").click();
const timer = setInterval(() => {
  if (document.querySelector("fieldset").disabled) return;
  clearInterval(timer);
  if (!document.getElementById("next").disabled) return done("next before the questions were answered");
  for (const [name, score] of Object.entries(scores)) {
    document.querySelector(`input[name=${name}][value="${score}"]`).click();
  }
  document.getElementById("next").click();
  done(ended);
}, 20);
"""


@pytest.fixture
def browser():
    with open_browser() as opened:
        yield opened


def begin(browser, study, rater):
    browser.open("about:blank")
    browser.open(f"{study.root.joinpath('index.html').as_uri()}#{rater}")
    browser.run("document.querySelector('#enter button').click()")


def fill(browser, answers):
    for answer in answers:
        assert browser.run(ANSWER, answer["scores"], kind="async") == 1, answer


def visible(browser):
    return browser.run("return [...document.querySelectorAll('main')].filter((m) => !m.hidden).map((m) => m.id)")


@pytest.fixture
def short(bench, predictions, make_study, monkeypatch):
    """A study whose videos last a third of a second."""
    from exprbench.study import trial_media

    monkeypatch.setattr(trial_media.Media, "_duration_s", lambda self, drivers: 0.32)
    return make_study


def test_32_raters_fill_in_the_page_and_are_recovered(short, browser, tmp_path):
    study = short(raters=32, per_rater=12, cases=3)
    key = load_key(study.key)
    folder = tmp_path / "answers"
    folder.mkdir()
    for seed, rater in enumerate(key.raters):
        begin(browser, study, rater)
        fill(browser, answers_of(key, rater, seed)["answers"])
        assert visible(browser) == ["end"]
        name = browser.run("return document.getElementById('download').download")
        assert name == f"answers-{key.study}-{rater}.json"
        (folder / name).write_text(browser.run("return document.getElementById('text').value"))
    assert [line for line in browser.log() if line["level"] == "SEVERE"] == []
    result = aggregate_study(folder, key=study.key, rules=Rules(max_play_ratio=100), models=False)
    assert [s.outcome for s in result.sessions] == ["used"] * 32
    for session in result.sessions:
        sent = answers_of(key, session.rater, list(key.raters).index(session.rater))["answers"]
        assert [a.scores for _, a in session.answers] == [a["scores"] for a in sent]
    for split in result.splits:
        assert sorted(METHODS, key=lambda m: split.estimates["VQ"][m].mean) == list(METHODS)


def test_answers_survive_a_closed_tab_and_belong_to_one_rater(short, browser):
    study = short(raters=2, per_rater=4)
    key = load_key(study.key)
    first, second = key.raters
    answers = answers_of(key, first, 0)["answers"]
    begin(browser, study, first)
    fill(browser, answers[:3])
    begin(browser, study, second)
    assert browser.run("return document.getElementById('progress').textContent").startswith("Practice, video 1 of")
    begin(browser, study, first)
    assert browser.run("return document.getElementById('progress').textContent") == f"video 4 of {len(answers)}"
    fill(browser, answers[3:])
    sent = json.loads(browser.run("return document.getElementById('text').value"))
    assert [a["scores"] for a in sent["answers"]] == [a["scores"] for a in answers]


def test_an_unknown_code_is_refused(short, browser):
    begin(browser, short(raters=1, per_rater=2), "qqqqqq")
    assert visible(browser) == ["welcome"]
    assert browser.run("return document.getElementById('message').textContent") == (
        'There is no code "qqqqqq" in this study. Please check it.'
    )


def test_a_pair_is_shown_and_answered(short, browser):
    study = short(mode="pairs", raters=1, per_rater=3)
    key = load_key(study.key)
    (rater,) = key.raters
    begin(browser, study, rater)
    assert browser.run("return [...document.querySelectorAll('figcaption')].map((c) => c.textContent)") == [
        "Picture", "Left result", "Driving video", "Right result",
    ]  # fmt: skip
    for answer in answers_of(key, rater, 0)["answers"]:
        assert browser.run(ANSWER, answer["scores"], kind="async") == 2
    assert visible(browser) == ["end"]


def test_a_phone_shows_everything_without_scrolling_sideways(short, browser):
    study = short(raters=1, per_rater=2)
    browser.call(
        "POST",
        f"/session/{browser.session}/goog/cdp/execute",
        {
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
        },
    )
    begin(browser, study, next(iter(load_key(study.key).raters)))
    assert browser.run("return [innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    sizes = browser.run("return [...document.querySelectorAll('.choices label')].map((l) => l.getBoundingClientRect())")
    assert min(box["width"] for box in sizes) >= 24
    assert min(box["height"] for box in sizes) >= 40
