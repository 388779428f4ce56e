"""What scores depend on: each setting, model file and version is part of the key of just the scorers that use it."""

import importlib
from dataclasses import asdict

import pytest

from exprbench.face_engine import ENGINES
from exprbench.weights import TRUST
from multiexpr.models.detector import Models
from multiexpr.recipe import Recipe, load_recipe
from multiexpr.scorers import container, make_scorers
from multiexpr.scorers.base import constant_rate, evenly_spaced, rounded, rounded_all, scattered

SETTINGS = {
    "people.model": {"people"},
    "people.num_frames": {"people"},
    "people.image_size": {"people"},
    "people.confidence": {"people"},
    "damage.num_frames": {"damage"},
    "sharpness.num_frames": {"sharpness"},
    "sharpness.short_side": {"sharpness"},
    "sharpness.face_side": {"motion"},
    "sharpness.percentile": {"sharpness"},
    "aesthetics.num_frames": {"photomotion", "laion"},
    "aesthetics.pair_s": {"photomotion"},
    "aesthetics.clip": {"laion"},
    "cuts.fps": {"cuts"},
    "cuts.long_side": {"cuts"},
    "cuts.ratio": {"cuts"},
    "motion.fps": {"motion"},
    "motion.short_side": {"motion"},
    "overlays.num_frames": {"overlays"},
    "overlays.short_side": {"overlays"},
    "overlays.text": {"overlays"},
    "nsfw.model": {"nsfw"},
    "nsfw.num_frames": {"nsfw"},
    "signature.num_frames": {"signature"},
    "signature.clip": {"signature"},
}
FILES = {
    "people.pt": {"people"},
    "face_landmarker": {"people", "motion"},
    "laion_aesthetic": {"laion"},
    "clip/config.json": {"laion"},
    "nsfw/config.json": {"nsfw"},
    "text.onnx": {"overlays"},
}
MODULES = {"damage": "frame_damage"}  # by scorer, where the names differ
OPTIONAL = ("overlays", "nsfw", "signature")
SCORERS = ("people", "damage", "sharpness", "photomotion", "laion", *OPTIONAL, "cuts", "motion")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Model files that are made up."""
    for name in ("clip", "other_clip", "nsfw", "other_nsfw"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    for name in ("people.pt", "other.pt", "face_landmarker", "laion_aesthetic", "text.onnx"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr("exprbench.weights.require", lambda name: tmp_path / name)
    monkeypatch.setattr("multiexpr.scorers.overlays.require_text_model", lambda: tmp_path / "text.onnx")
    monkeypatch.setenv(TRUST, "1")
    return tmp_path


def fingerprints(files, *settings):
    """By scorer, both aesthetic ones among them."""
    found = {}
    for method in ("photomotion", "laion"):
        models = [f"score.people.model={files / 'people.pt'}", f"score.aesthetics.clip={files / 'clip'}"]
        models += [f"score.nsfw.model={files / 'nsfw'}", f"score.optional={list(OPTIONAL)}"]
        recipe = load_recipe(None, [*models, f"score.aesthetics.method={method}", *settings])
        found |= {scorer.name: scorer.fingerprint() for scorer in make_scorers(recipe, Models(recipe))}
    return found


def changed(before, after):
    assert set(before) == set(after) == set(SCORERS)
    return {name for name in before if before[name] != after[name]}


def test_all_settings_of_the_scorers_are_listed_here():
    score = asdict(Recipe().score)
    listed = {f"{section}.{key}" for section, keys in score.items() if isinstance(keys, dict) for key in keys}
    assert set(SETTINGS) == listed - {"aesthetics.method", "motion.engine"}


def test_the_face_engine_is_part_of_the_key(files):
    pytest.importorskip("openvino")
    by_engine = {name: fingerprints(files, f"score.motion.engine={name}") for name in (*ENGINES, "auto")}
    assert changed(by_engine["mediapipe"], by_engine["openvino"]) == {"people", "motion"}
    assert changed(by_engine["torch"], by_engine["openvino"]) == {"people", "motion"}
    assert changed(by_engine["auto"], by_engine["openvino"]) == set()
    assert changed(by_engine["auto"], fingerprints(files)) == set()


@pytest.mark.parametrize(("key", "touched"), SETTINGS.items())
def test_a_setting_is_part_of_the_key_of_the_scorers_that_use_it(files, key, touched):
    section, name = key.split(".")
    value = asdict(Recipe().score)[section][name]
    others = {"people.model": "other.pt", "aesthetics.clip": "other_clip", "nsfw.model": "other_nsfw",
              "signature.clip": "clip"}  # fmt: skip
    new = files / others[key] if key in others else "false" if value is True else value + 1
    assert changed(fingerprints(files), fingerprints(files, f"score.{key}={new}")) == touched


@pytest.mark.parametrize(("file", "touched"), FILES.items())
def test_a_models_file_is_part_of_the_key_of_the_scorer_that_uses_it(files, file, touched):
    before = fingerprints(files)
    (files / file).write_text("something else")
    assert changed(before, fingerprints(files)) == touched


@pytest.mark.parametrize(
    ("module", "name", "touched"),
    [*((MODULES.get(name, name), "VERSION", {name}) for name in SCORERS), ("motion", "TRACKER", {"motion"})],
)
def test_a_version_is_part_of_the_key(files, monkeypatch, module, name, touched):
    before = fingerprints(files)
    monkeypatch.setattr(importlib.import_module(f"multiexpr.scorers.{module}"), name, "the next one")
    assert changed(before, fingerprints(files)) == touched


def test_scorers_are_asked_in_the_order_of_their_cost():
    recipe = load_recipe(None, ["score.aesthetics.method=photomotion"])
    scorers = [(scorer.name, scorer.costly) for scorer in make_scorers(recipe, Models(recipe))]
    assert scorers == [
        ("people", False),
        ("damage", False),
        ("sharpness", False),
        ("photomotion", False),
        ("cuts", True),
        ("motion", True),
    ]


def test_what_each_scorer_asks_for():
    recipe = load_recipe(None, ["score.aesthetics.method=photomotion"])
    wanted = {
        scorer.name: scorer.frames({"length_s": 2.0, "fps": 25.0}) for scorer in make_scorers(recipe, Models(recipe))
    }
    assert {name: (len(frames.times_s), frames.short_side, frames.long_side) for name, frames in wanted.items()} == {
        "people": (5, 0, 640),
        "damage": (10, 65536, 0),
        "sharpness": (5, 360, 0),
        "photomotion": (10, 360, 0),
        "cuts": (50, 0, 256),
        "motion": (25, 540, 0),
    }


@pytest.mark.parametrize("cadence", [3, 4, 5, 6])
@pytest.mark.parametrize(("duration_s", "fps"), [(4.0, 25), (4.0, 30), (5.0, 30), (2.4, 25), (10.0, 24), (20.0, 30)])
def test_scattered_times_are_at_more_than_half_of_the_places_of_a_cadence(duration_s, fps, cadence):
    times = scattered(duration_s, 10)
    assert all(i * duration_s / 10 < t < (i + 1) * duration_s / 10 for i, t in enumerate(times))
    assert len({round(t * fps) % cadence for t in times}) >= cadence / 2 + 1


def test_times_of_a_clip():
    assert evenly_spaced(4.0, 2) == (1.0, 3.0)
    assert scattered(4.0, 2) == (1.494, 2.883)
    assert constant_rate(1.0, 4) == (0.0, 0.25, 0.5, 0.75)
    assert constant_rate(1.0, 12.5)[-1] < 1.0
    assert constant_rate(0.01, 4) == (0.0,)
    assert constant_rate(0.2, 30)[:3] == (0.0, 0.0333, 0.0667)


def test_scores_keep_four_decimals_and_are_null_where_they_are_no_number():
    assert rounded(1.23456) == 1.2346
    assert rounded_all([1.0, float("nan"), float("inf")]) == [1.0, None, None]


def test_the_container_of_a_drawn_video(drawn):
    from exprbench.media import VideoSource

    row = container.measure(VideoSource(path=str(drawn / "a.mp4"), start_s=0.4, duration_s=1.0))
    assert {name for name, _ in container.COLUMNS} <= set(row)
    assert (row["width"], row["height"], row["fps"], row["length_s"], row["codec"]) == (160, 96, 25.0, 1.0, "h264")
    assert container.measure(VideoSource(path=str(drawn / "a.mp4")))["length_s"] == 2.0
