"""The report in a real browser, opened from disk: pictures in step, curves, filters, keys, nothing fetched."""

import random
import shutil
from dataclasses import replace

import pytest

import exprbench
from exprbench import build, build_report, load_record, score
from exprbench.records import save_record
from exprbench.toy_benchmark import run_demo
from tests.browser import needs_browser, open_browser
from tests.report.conftest import METHODS, NUM_FRAMES, SHIFT, make_scored
from tests.videos import number_of

pytestmark = [pytest.mark.slow, needs_browser]

# Calls back when a condition holds: a function body that returns a truth value, evaluated every 20 ms.
WAIT = """
const [body, done] = arguments;
const holds = new Function(body);
const timer = setInterval(() => { if (holds()) { clearInterval(timer); done(true); } }, 20);
"""
BOXES = """
return [...document.querySelectorAll("#screens canvas")].map((c) => {
  const box = c.getBoundingClientRect();
  return [box.left + scrollX, box.top + scrollY, box.width, box.height].map(Math.round);
});
"""
# Counts the pictures that the video has shown, in `window.shown`, after the page has drawn them.
COUNT = """
const video = document.getElementById("tiled");
window.shown = 0;
const next = () => { requestAnimationFrame(() => { window.shown += 1; }); video.requestVideoFrameCallback(next); };
video.requestVideoFrameCallback(next);
"""
METRICS_SHOWN = {"self": {"fid", "fvd", "psnr", "ssim", "lmd", "mae"}, "cross": {"aed", "apd", "mae"}}
PAUSED = "document.getElementById('play').textContent === 'Play'"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


def wait(browser, body):
    browser.run(WAIT, body, kind="async")


def begin(browser, folder, view=""):
    browser.open("about:blank")
    browser.log(), browser.requests()
    browser.open(f"{(folder / 'index.html').as_uri()}{view}")


def open_case(browser, folder, case_id):
    begin(browser, folder, f"#case={case_id}")
    wait(browser, "const v = document.getElementById('tiled'); return v.readyState >= 3 && !v.seeking")
    browser.run("const s = document.getElementById('size'); s.value = 160; s.dispatchEvent(new Event('input'))")


def settle(browser, frame):
    """Wait until the video has reached a frame, and two pictures of the page after it."""
    body = "const v = document.getElementById('tiled'); return v.paused && !v.seeking && ExprBenchReport.frame() === "
    wait(browser, f"{body}{frame}")
    browser.run("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))", kind="async")


def shown_numbers(browser):
    """The numbers in the pictures of the driver and of each method, read from a screenshot."""
    page = browser.screenshot()
    return [number_of(page[y : y + height, x : x + width]) for x, y, width, height in browser.run(BOXES)]


def screen_values(browser):
    texts = browser.run("return [...document.querySelectorAll('#screens .value')].map((v) => v.textContent)")
    return [text.replace("\u00a0", " ").strip() for text in texts]


def assert_quiet(browser, folder):
    """No error in the console, and every request is for a file of the report."""
    assert [line for line in browser.log() if line["level"] == "SEVERE"] == []
    root = folder.as_uri()
    assert [url for url in browser.requests() if not url.startswith((f"{root}/", "data:", "about:"))] == []


@pytest.mark.parametrize("fps", [23.976, 25, 29.97])
def test_no_method_is_a_frame_apart_at_any_rate(browser, tmp_path, own_cache, fps):
    scored = make_scored(tmp_path, fps)
    folder = scored.report(tmp_path / "report", methods=METHODS[:2]).page.parent
    open_case(browser, folder, "single-self-0001")
    seeks = random.Random(0).sample(range(NUM_FRAMES), 10)
    for frame in seeks:
        browser.run("ExprBenchReport.seek(arguments[0])", frame)
        settle(browser, frame)
        assert shown_numbers(browser) == [100 + frame] * 3
    for _ in range(5):
        browser.run("document.getElementById('step').click()")
    last = min(seeks[-1] + 5, NUM_FRAMES - 1)
    settle(browser, last)
    assert shown_numbers(browser) == [100 + last] * 3
    assert_quiet(browser, folder)


def test_after_playing_all_pictures_are_those_of_the_frame(browser, report_folder):
    open_case(browser, report_folder, "multi-self-0001")
    browser.run(COUNT + "document.getElementById('loop').checked = false; document.getElementById('play').click()")
    wait(browser, "return ExprBenchReport.frame() >= 15 && window.shown >= 3")
    browser.run("document.getElementById('tiled').pause()")
    wait(browser, f"return {PAUSED} && !document.getElementById('tiled').seeking")
    frame = browser.run("return ExprBenchReport.frame()")
    settle(browser, frame)
    assert shown_numbers(browser)[:3] == [300 + frame] * 3
    browser.run("document.getElementById('play').click()")
    wait(browser, "return document.getElementById('tiled').ended")
    settle(browser, NUM_FRAMES - 1)
    assert shown_numbers(browser)[:3] == [300 + NUM_FRAMES - 1] * 3
    assert_quiet(browser, report_folder)


def test_a_short_video_ends_and_the_others_go_on(browser, report_folder):
    open_case(browser, report_folder, "single-cross-0001")
    browser.run("ExprBenchReport.seek(50)")
    settle(browser, 50)
    *others, short = shown_numbers(browser)
    assert others == [150] * 3
    assert short == 0
    assert screen_values(browser)[-1] == "MAE \u2013 AED \u2013 APD \u2013"


def test_curves_and_values_follow_the_frame(browser, report_folder):
    open_case(browser, report_folder, "single-self-0001")
    columns = """
        const c = document.querySelectorAll('#curves canvas')[0];
        const pixels = c.getContext('2d').getImageData(0, 10, c.width, 1).data;
        const dark = [];
        for (let x = 0; x < c.width; x += 1) if (pixels[4 * x + 3] > 150 && pixels[4 * x] < 80) dark.push(x);
        return dark[0] / c.width;
    """
    browser.run("document.getElementById('frame-table').open = true")
    places = []
    for frame in (0, 20, 40, 59):
        browser.run("ExprBenchReport.seek(arguments[0])", frame)
        settle(browser, frame)
        places.append(browser.run(columns))
        assert browser.run("return document.getElementById('time').textContent").startswith(f"frame {frame + 1} of 60")
        rows = "return [...document.querySelectorAll('#frame-table tbody tr')].map((r) => r.cells[1].textContent)"
        assert browser.run(rows) == ["0.00", f"{SHIFT * 1e3:.2f}", "0.00" if frame < 40 else "\u2013"]
    assert places == sorted(places)
    steps = [(b - a) / n for a, b, n in zip(places, places[1:], (20, 20, 19), strict=False)]
    assert max(steps) == pytest.approx(min(steps), rel=0.05)


def test_a_click_on_a_curve_goes_to_its_frame(browser, report_folder):
    open_case(browser, report_folder, "single-self-0001")
    browser.run("""
        const canvas = document.querySelectorAll('#curves canvas')[1];
        const box = canvas.getBoundingClientRect();
        const [x, y] = [box.left + 52 + (box.width - 62) / 2, box.top + 40];
        canvas.dispatchEvent(new MouseEvent('click', { clientX: x, clientY: y, bubbles: true }));
    """)
    wait(browser, "return Math.abs(ExprBenchReport.frame() - 29.5) < 1")


def test_landmarks_are_loaded_when_they_are_asked_for(browser, report_folder):
    open_case(browser, report_folder, "single-self-0001")
    assert not any("landmarks" in url for url in browser.requests())
    before = browser.screenshot()
    boxes = browser.run(BOXES)
    browser.run("document.getElementById('landmarks').click()")
    wait(browser, "return document.getElementById('message').hidden")
    settle(browser, 0)
    for _ in range(50):
        after = browser.screenshot()
        changed = [(before != after)[y : y + h, x : x + w].any(-1).mean() for x, y, w, h in boxes]
        if min(changed) > 0:
            break
    assert min(changed) > 0.02
    assert_quiet(browser, report_folder)


def press(browser, key):
    script = "(document.activeElement || document.body).dispatchEvent(new KeyboardEvent('keydown', arguments[0]))"
    browser.run(script, {"bubbles": True, "cancelable": True, **key})


def test_everything_can_be_done_with_keys(browser, report_folder):
    open_case(browser, report_folder, "single-self-0001")
    assert browser.run("return document.activeElement.id") == "case-title"
    for key, frame in (
        ({"key": "ArrowRight"}, 1),
        ({"key": "ArrowRight", "shiftKey": True}, 11),
        ({"key": "ArrowLeft"}, 10),
        ({"key": "End"}, 59),
        ({"key": "Home"}, 0),
    ):
        press(browser, key)
        settle(browser, frame)
    press(browser, {"key": "n"})
    wait(browser, "return document.getElementById('case-title').textContent === 'single-cross-0001'")
    press(browser, {"key": "p"})
    wait(browser, "return document.getElementById('case-title').textContent === 'single-self-0001'")
    press(browser, {"key": "Escape"})
    wait(browser, "return document.getElementById('viewer').hidden && !document.getElementById('overview').hidden")


def visible_cases(browser):
    return browser.run("return [...document.querySelectorAll('#cases tbody tr')].map((r) => r.cells[1].textContent)")


def choose(browser, name, value):
    script = "const [n, v] = arguments; const s = document.getElementById(n); s.value = v;"
    browser.run(f"{script} for (const e of ['input', 'change']) s.dispatchEvent(new Event(e))", name, value)


def test_filters_filter_and_the_address_holds_them(browser, report_folder):
    begin(browser, report_folder)
    assert len(visible_cases(browser)) == 4
    choose(browser, "split", "single")
    assert visible_cases(browser) == ["single-self-0001", "single-cross-0001"]
    choose(browser, "track", "cross")
    assert visible_cases(browser) == ["single-cross-0001"]
    assert browser.run("return document.getElementById('count').textContent") == "1 of 4 cases"
    assert "split=single" in browser.run("return location.hash")
    browser.run("document.getElementById('reset').click()")
    choose(browser, "search", "duo MULTI-self")
    assert visible_cases(browser) == ["multi-self-0001"]
    browser.run("document.getElementById('reset').click()")
    choose(browser, "method", "0")
    browser.run("document.getElementById('problems').click()")
    assert visible_cases(browser) == []
    choose(browser, "method", "2")
    assert len(visible_cases(browser)) == 4
    begin(browser, report_folder, "#track=self&metric=lmd&method=1")
    assert visible_cases(browser) == ["single-self-0001", "multi-self-0001"]
    assert_quiet(browser, report_folder)


def test_a_number_of_the_table_leads_to_its_videos_in_two_clicks(browser, report_folder):
    begin(browser, report_folder)
    browser.run("document.querySelectorAll('#table tbody tr')[1].querySelectorAll('a')[1].click()")
    wait(browser, "return document.getElementById('metric').value === 'lmd'")
    assert visible_cases(browser) == ["single-self-0001"]
    assert browser.run("return document.querySelector('#worst b').textContent") == f"{SHIFT * 1e3:.2f}"
    browser.run("document.querySelector('#worst a').click()")
    wait(browser, "return document.getElementById('case-title').textContent === 'single-self-0001'")
    assert_quiet(browser, report_folder)


def test_names_with_markup_are_text(browser, report_folder):
    begin(browser, report_folder)
    browser.run("window.alert = () => { window.alerted = true; }")
    open_case(browser, report_folder, "single-cross-0001")
    names = browser.run("return [...document.querySelectorAll('#screens figcaption')].map((c) => c.textContent)")
    assert names == ["source", "driver", *METHODS]
    assert browser.run("return document.getElementById('case-names').textContent").endswith("bo & <b>cy.png, ada.mp4")
    sources = browser.run("return [...document.scripts].map((s) => s.getAttribute('src'))")
    assert sources == ["report_data.js", "plot.js", "player.js", "report.js"]
    assert browser.run("return window.alerted === undefined")
    assert_quiet(browser, report_folder)


def test_the_printed_page_has_the_pictures_and_no_controls(browser, report_folder):
    open_case(browser, report_folder, "single-self-0001")
    browser.devtools("Emulation.setEmulatedMedia", media="print")
    hidden = (
        "return ['controls', 'filters', 'tiled'].map((id) => getComputedStyle(document.getElementById(id)).display)"
    )
    assert browser.run(hidden) == ["none"] * 3
    assert all(width > 0 for _, _, width, _ in browser.run(BOXES))
    browser.devtools("Emulation.setEmulatedMedia", media="")


@pytest.mark.shared
def test_the_report_of_real_clips(browser, shared, needs_weights, tmp_path):
    needs_weights("face_landmarker")
    for folder, name in (("portraits", "portraits/s1.jpg"), ("driving", "driving/d20.mp4")):
        (tmp_path / folder).mkdir()
        shutil.copy(shared(name), tmp_path / folder)
    inputs = {"portraits": tmp_path / "portraits", "driving": tmp_path / "driving"}
    bench = build(**inputs, out=tmp_path / "bench", clip_seconds=1, workers=0)
    (tmp_path / "same").mkdir()
    for case in bench.cases:
        shutil.copy(bench.path(case.drivers[0]), tmp_path / "same" / f"{case.case_id}.mp4")
    options = {"metrics": ["lmd", "mae", "aed", "apd"], "workers": 0, "floors": False}
    score(benchmark=bench.root, predictions=tmp_path / "same", method="same", out=tmp_path / "same.json", **options)
    save_record(tmp_path / "b.json", replace(load_record(tmp_path / "same.json"), method="without videos"))
    records = [tmp_path / "same.json", tmp_path / "b.json"]
    predictions = {"same": tmp_path / "same"}
    page = build_report(records, out=tmp_path / "r", benchmark=bench.root, predictions=predictions, workers=0).page
    open_case(browser, page.parent, "single-self-0001")
    browser.run("document.getElementById('landmarks').click(); ExprBenchReport.seek(12)")
    settle(browser, 12)
    assert screen_values(browser) == ["", "LMD 0.00 MAE 0.00 AED 0.00 APD 0.00", ""]
    assert browser.run("return document.querySelector('.note').textContent") == "no folder of videos was given"
    assert_quiet(browser, page.parent)


def groups_of(demo):
    return [group for record in demo.records.values() for group in record.groups]


def test_the_report_of_the_demo(browser, tmp_path, monkeypatch):
    """With two of its methods: the others are drawn in the same way."""
    chosen = ("perfect", "gaze off by 5 degrees")
    monkeypatch.setattr(run_demo, "METHODS", {name: run_demo.METHODS[name] for name in chosen})
    demo = exprbench.demo(tmp_path / "demo", workers=0)
    predictions = tmp_path / "demo" / "predictions"
    records = list(demo.paths.values())
    page = build_report(records, out=tmp_path / "r", benchmark=demo.bench.root, predictions=predictions, workers=0).page
    begin(browser, page.parent)
    assert len(visible_cases(browser)) == len(demo.bench.cases)
    links = browser.run("return document.querySelectorAll('#table td a').length")
    assert links == sum(len(group.aggregates.keys() & METRICS_SHOWN[group.track]) for group in groups_of(demo))
    open_case(browser, page.parent, "multi-self-0001")
    browser.run("ExprBenchReport.seek(30)")
    settle(browser, 30)
    names = browser.run("return [...document.querySelectorAll('#screens figcaption')].map((c) => c.textContent)")
    assert names == ["source", "driver", *demo.records]
    perfect = screen_values(browser)[1 + list(demo.records).index("perfect")]
    assert perfect == "LMD 0.00 MAE 0.00 AED 0.00 APD 0.00"
    turned = screen_values(browser)[1 + list(demo.records).index("gaze off by 5 degrees")]
    assert "MAE 5.00" in turned
    assert_quiet(browser, page.parent)
