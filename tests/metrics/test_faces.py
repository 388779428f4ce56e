import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from exprbench.metrics import COLUMNS, METRICS, metric_ids
from exprbench.metrics.face_pair import mean_seen
from tests.metrics.faces import any_face, direction, face_errors, hidden, looking, pair

FACE_METRICS = ("lmd", "mae", "aed", "apd")


def columns(profile):
    return {n for n in metric_ids(profile) if n.split("_")[0] in FACE_METRICS and COLUMNS[n].over == "frame"}


def readings(seed=0, count=4):
    rng = np.random.default_rng(seed)
    gaze = rng.normal(size=(count, 3))
    return {
        "gaze": gaze / np.linalg.norm(gaze, axis=1, keepdims=True),
        "expression": rng.normal(size=(count, 55)),
        "pose": rng.normal(0, 0.3, (count, 3)),
    }


def test_every_column_of_a_profile_has_its_errors():
    faces = pair(any_face(seed=1), any_face(seed=2))
    assert set(face_errors(faces)) == columns("mediapipe")
    assert set(face_errors(faces, "paper", (readings(1), readings(2)))) == columns("paper")
    for errors in (face_errors(faces), face_errors(faces, "paper", (readings(1), readings(2)))):
        assert {(v.shape, v.dtype) for v in errors.values()} == {((4,), np.dtype(np.float64))}


def test_a_face_compared_with_itself_scores_zero():
    face = any_face()
    errors = face_errors(pair(face, face))
    assert all((errors[name] == 0).all() for name in FACE_METRICS)
    assert all(np.nan_to_num(v) == pytest.approx(np.zeros(4), abs=1e-9) for v in errors.values())
    same = face_errors(pair(face, face), "paper", (readings(), readings()))
    assert all((same[name] == 0).all() for name in FACE_METRICS)


@pytest.mark.parametrize("profile", ["mediapipe", "paper"])
def test_frames_where_a_face_is_not_seen_have_no_value_and_no_warning(profile):
    face = any_face()
    gone = pair(hidden(face, 1), hidden(face, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        errors = face_errors(gone, profile, (readings(), readings()))
    for name, values in errors.items():
        assert np.isnan(values[[1, 3]]).all(), name
        assert name == "mae_open" or np.isfinite(values[[0, 2]]).all(), name


def test_frames_stand_for_themselves():
    """All frames at once, each alone, and in another order."""
    a, b = any_face(seed=1), any_face(seed=2)
    whole = face_errors(pair(a, b))
    order = [2, 0, 3, 1]

    def picked(face, frames):
        arrays = {n: getattr(face, n)[frames] for n in ("seen", "box", "landmarks", "blendshapes", "pose")}
        return replace(face, **arrays)

    turned = face_errors(pair(picked(a, order), picked(b, order)))
    for name, values in whole.items():
        assert turned[name] == pytest.approx(values[order], abs=1e-12, nan_ok=True)
        alone = [face_errors(pair(picked(a, [t]), picked(b, [t])))[name][0] for t in range(4)]
        assert alone == pytest.approx(values, abs=1e-12, nan_ok=True)


def test_networks_that_are_not_there_leave_their_columns_out():
    faces = pair(any_face(), any_face(seed=1))
    some = face_errors(faces, "paper", ({"gaze": readings()["gaze"]}, readings()))
    assert set(some) == {n for n in columns("paper") if n.startswith(("lmd", "mae"))}


def test_a_frame_counts_as_open_while_one_eye_is():
    upright = Rotation.identity(3)
    face = looking([direction(0, 0)] * 3, upright, closed=[(0, 0), (1, 0), (1, 1)])
    sides = {"gaze": np.tile(direction(0, 0), (3, 1))}, {"gaze": np.tile(direction(7, 0), (3, 1))}
    errors = face_errors(pair(face, face), "paper", sides)
    assert errors["mae"] == pytest.approx([7, 7, 7])
    assert errors["mae_open"][[0, 2]] == pytest.approx([7, 7])
    assert np.isnan(errors["mae_open"][1])


def test_the_worst_is_worse_than_what_strangers_score():
    errors = face_errors(pair(any_face(seed=1), any_face(seed=2)))
    for name in FACE_METRICS:
        assert mean_seen(errors[name]) < METRICS[name].worst["mediapipe"]


def test_tracks_of_two_lengths_are_refused_until_cut():
    long, short = any_face(4), any_face(3)
    with pytest.raises(ValueError, match="4 and 3 frames"):
        pair(long, short)
    assert len(face_errors(pair(long.first(3), short))["lmd"]) == 3


def test_the_mean_is_over_seen_frames():
    assert mean_seen(np.array([1.0, np.nan, 3.0])) == 2
    assert np.isnan(mean_seen(np.full(3, np.nan)))
