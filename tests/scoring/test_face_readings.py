"""Readings of the networks of the profile `paper`, by networks that return a crop's brightness."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from exprbench import weights
from exprbench.core.files import sha256_path
from exprbench.media import write_video
from exprbench.metrics import face_readers
from exprbench.metrics.face_readers import READERS
from exprbench.scoring.computations import face_readings
from exprbench.scoring.face_scores import _readings
from exprbench.scoring.single_pass import VideoInput
from tests.people import moved, person
from tests.videos import numbered

NUM_FRAMES = 20


DRIVEN = ("l2cs", "smirk")  # the readers that compare with the driver


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Everything a reading depends on."""

    first: int = 0
    fps: float = 25
    device: str = "cpu"
    shift: float = 0.0
    hidden: tuple = ()
    l2cs: str = "a"
    smirk: str = "a"


def track_of(reading):
    seen = ~np.isin(np.arange(NUM_FRAMES), reading.hidden)
    return replace(moved(person(NUM_FRAMES), reading.shift), seen=seen)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """`read(Reading(...))` returns name -> readings of a face in a numbered video."""

    def loaded(name, device):
        gain = {"a": 1, "b": 3}[weights.get(name).sha256] * {"cpu": 1, "cuda": 2}[device]

        def network(crops):
            brightness = gain * np.array([[crop.mean() / 255] for crop in crops])
            return {output: brightness * np.ones(n) for output, n in READERS[name].outputs.items()}

        return network

    monkeypatch.setattr(face_readers, "loaded", loaded)

    def do(reading):
        for name in DRIVEN:
            monkeypatch.setitem(weights.ALL, name, replace(weights.get(name), sha256=getattr(reading, name)))
        path = tmp_path / f"{reading.first}.mp4"
        write_video(path, (numbered(reading.first + i) for i in range(NUM_FRAMES)))
        video = VideoInput(path=path, sha256=sha256_path(path), fps=reading.fps, max_frames=NUM_FRAMES)
        plan = SimpleNamespace(device=reading.device)
        return face_readings(plan, DRIVEN, video, track_of(reading), range(0))

    return do


@pytest.mark.parametrize(
    "change",
    [
        *({"first": 100}, {"fps": 50}, {"device": "cuda"}, {"shift": 0.2}, {"hidden": (3,)}),
        *({"l2cs": "b"}, {"smirk": "b"}, {"l2cs": "b", "smirk": "b"}),
    ],
    ids=str,
)
def test_readings_are_recalled_only_where_all_they_depend_on_is_the_same(read, own_cache, monkeypatch, change):
    before = read(Reading())
    warm = read(Reading(**change))
    monkeypatch.setenv("EXPRBENCH_CACHE", str(own_cache / "empty"))
    cold = read(Reading(**change))
    np.testing.assert_equal(warm, cold)
    changed = {name for name, values in cold.items() if not np.array_equal(values, before[name], equal_nan=True)}
    models = {"gaze": "l2cs", "expression": "smirk", "pose": "smirk"}
    of_one_model = {name for name, model in models.items() if model in change}
    assert changed == (of_one_model or set(models))


def test_readings_are_placed_in_the_frames_where_the_face_is_seen(read, own_cache):
    found, whole = read(Reading(hidden=(0, 7))), read(Reading())
    seen = [t for t in range(NUM_FRAMES) if t not in (0, 7)]
    for name, width in (("gaze", 3), ("expression", 55), ("pose", 3)):
        assert found[name].shape == (NUM_FRAMES, width)
        assert np.isnan(found[name][[0, 7]]).all()
        assert np.array_equal(found[name][seen], whole[name][seen])
    assert len(np.unique(whole["pose"][:, 0])) > 3


def test_only_the_frames_both_videos_have_are_given(read, own_cache):
    whole = read(Reading())
    inputs = SimpleNamespace(
        read=lambda readers, driver, track: {o: whole[o] for r in readers for o in READERS[r].outputs}
    )
    first = _readings(inputs, ["l2cs", "smirk"], None, track_of(Reading()), 5)
    assert np.array_equal(first["gaze"], whole["gaze"][:5])
    assert first["expression"].shape == (5, 55)


def test_a_face_that_was_not_matched_is_not_read():
    inputs = SimpleNamespace(read=lambda *_: pytest.fail("a network was asked"))
    unread = _readings(inputs, ["smirk"], None, None, 6)
    assert {name: values.shape for name, values in unread.items()} == {"expression": (6, 55), "pose": (6, 3)}
    assert all(np.isnan(values).all() for values in unread.values())
    assert _readings(inputs, [], None, None, 6) == {}
