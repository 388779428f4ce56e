"""Columns beyond the paper's, through whole runs of `score`."""

from dataclasses import replace

import numpy as np
import pytest

from exprbench import score_pair
from exprbench.faces.video_tracks import given_tracks
from exprbench.media import read_clip, read_image, write_image
from exprbench.metrics import face_readers
from exprbench.metrics.csim import cosine
from tests.people import clip, give, person
from tests.scoring.conftest import case_of

SELF, CROSS, DUO = "single-self-0001", "single-cross-0001", "multi-self-0001"


def test_a_perfect_prediction_follows_its_driver(method):
    record = method.score(metrics=["psnr", "mae", "aed", "apd"])
    for case in record.cases:
        values = case.values
        assert (values["follow_expression"], values["lag"]) == (pytest.approx(1), 0)
        assert {values[name] for name in ("aed_rel", "apd_rel", "mae_rel", "aed_at_lag", "apd_at_lag")} == {0}
        assert ("l1" in values) == (case.track == "self")
        assert values.get("l1", 0) == 0
        assert ("swap" in values) == (case.split == "multi")
    duo = case_of(record, DUO)
    assert (duo.values["swap"], duo.values["swap_margin"]) == (0, 1)


def test_expressions_of_two_people_that_change_places_are_found(method):
    tracks = method.tracks(DUO)
    a, b = tracks.tracks
    swapped = (replace(a, blendshapes=b.blendshapes, pose=b.pose), replace(b, blendshapes=a.blendshapes, pose=a.pose))
    method.give(DUO, replace(tracks, tracks=swapped))
    case = case_of(method.score(metrics=["aed", "apd"]), DUO)
    assert (case.values["swap"], case.values["swap_margin"]) == (1, -1)


def test_a_late_prediction_has_its_lag(method):
    tracks = method.tracks(SELF)
    (face,) = tracks.tracks
    order = np.maximum(np.arange(len(face.seen)) - 3, 0)
    late = replace(face, **{name: getattr(face, name)[order] for name in ("blendshapes", "pose", "landmarks")})
    method.give(SELF, replace(tracks, tracks=(late,)))
    values = case_of(method.score(metrics=["lmd", "aed", "apd"]), SELF).values
    assert values["lag"] == 3
    assert values["aed"] > 0.1
    assert values["aed_at_lag"] == values["apd_at_lag"] == values["lmd_at_lag"] == 0


class Colours:
    """A stand-in for an identity network: the mean colour of the face's box, and one constant number."""

    @staticmethod
    def crop(frame, points):
        low, high = points.min(0).astype(int).clip(0), points.max(0).astype(int)
        return frame[low[1] : high[1], low[0] : high[0]]

    @staticmethod
    def load(device):
        def read(crops):
            colours = np.array([[*crop.mean((0, 1)), 40.0] for crop in crops])
            return {"dlib_identity": np.pad(colours, ((0, 0), (0, 124)))}

        return read


@pytest.fixture
def colours(monkeypatch, tmp_path):
    """The identity network is replaced by the mean colour of the crop."""
    monkeypatch.setattr(face_readers, "_module", lambda name: Colours)
    monkeypatch.setattr("exprbench.weights.require", lambda name: tmp_path)
    monkeypatch.setattr("exprbench.weights.require_package", lambda name: None)
    face_readers.loaded.cache_clear()
    yield Colours.load("cpu")
    face_readers.loaded.cache_clear()


def identity(read, frame, track, t):
    points = track.landmarks[t, :, :2].astype(float) * (frame.shape[1], frame.shape[0])
    return read([Colours.crop(frame, points)])["dlib_identity"]


def test_identity_is_that_of_the_source_image(method, colours):
    record = method.score(metrics=["csim"])
    assert record.ids["csim"] == "csim[dlib-resnet-v1,mp-align5,cosine]"
    case = case_of(record, CROSS)
    row = next(c for c in method.bench.cases if c.case_id == CROSS)
    source_track = given_tracks(method.bench.path(row.source)).tracks[0]
    source = identity(colours, read_image(method.bench.path(row.source)), source_track, 0)
    track = method.tracks(CROSS).tracks[0]
    frames = method.frames(CROSS)
    expected = np.mean([cosine(identity(colours, frame, track, t), source) for t, frame in enumerate(frames)])
    assert case.values["csim"] == pytest.approx(expected, rel=1e-9)
    assert all("csim" in c.values for c in record.cases)


def test_identity_of_a_pair_is_that_of_the_first_frame_of_the_reference(colours, tmp_path):
    track = person(8)
    reference, prediction = clip(tmp_path / "a.mp4", 8, track), clip(tmp_path / "b.mp4", 8, track, start=3)
    source = identity(colours, read_clip(reference)[0][0], track, 0)
    expected = np.mean([cosine(identity(colours, f, track, t), source) for t, f in enumerate(read_clip(prediction)[0])])
    scores = score_pair(prediction, reference, metrics=["csim"])
    assert scores == {"csim": pytest.approx(expected, rel=1e-9)}
    assert scores["csim"] < score_pair(reference, reference, metrics=["csim"])["csim"]


def test_identity_of_a_pair_whose_reference_is_a_folder_of_frames(colours, tmp_path):
    track = person(8)
    reference, prediction = clip(tmp_path / "a.mp4", 8, track), clip(tmp_path / "b.mp4", 8, track, start=3)
    frames = tmp_path / "frames"
    for i, frame in enumerate(read_clip(reference)[0]):
        write_image(frames / f"{i:05}.png", frame)
    give(frames, given_tracks(reference))
    expected = score_pair(prediction, reference, metrics=["csim"])["csim"]
    assert score_pair(prediction, frames, metrics=["csim"]) == {"csim": pytest.approx(expected, rel=1e-9)}


def test_identity_of_a_pair_whose_first_frame_shows_no_face_has_a_reason(colours, tmp_path):
    reference = clip(tmp_path / "a.mp4", 8, person(8, hidden=(0,)))
    scores = score_pair(clip(tmp_path / "b.mp4", 8, person(8)), reference, metrics=["csim", "lmd"])
    assert list(scores) == ["lmd"]
    assert scores.unscored["csim"] == "no frame in which it is defined"


def test_without_identity_packages_the_column_says_so(method, monkeypatch):
    monkeypatch.setattr("exprbench.weights.find_spec", lambda name: None)
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", "")
    record = method.score(metrics=["csim", "psnr"])
    assert "exprbench[identity]" in record.groups[0].unscored["csim"]
    assert record.groups[0].aggregates["psnr"].value == 100
