import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from exprbench.metrics import COLUMNS, METRICS, lmd, metric_ids
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


def shifted_readings(**shift):
    """The same readings, some numbers larger."""
    base = {"gaze": np.tile([0.0, 0, 1], (4, 1)), "expression": np.zeros((4, 55)), "pose": np.zeros((4, 3))}
    return base, {name: values + shift.get(name, 0) for name, values in base.items()}


def test_the_papers_expression_is_the_first_fifty_coefficients():
    apart = np.concatenate([np.full(49, 0.1), [0.6], np.full(5, 1.0)])
    face = any_face()
    errors = face_errors(pair(face, face), "paper", shifted_readings(expression=apart))
    assert errors["aed"] == pytest.approx(np.full(4, (49 * 0.1 + 0.6) / 50))
    assert errors["aed_full"] == pytest.approx(np.full(4, (49 * 0.1 + 0.6 + 5) / 55))
    assert errors["aed_rmse"] == pytest.approx(np.full(4, np.sqrt((49 * 0.01 + 0.36) / 50)))


def test_the_papers_pose_is_an_axis_times_an_angle():
    face = any_face()
    errors = face_errors(pair(face, face), "paper", shifted_readings(pose=np.array([0.3, 0.0, 0.0])))
    assert errors["apd"] == pytest.approx(np.full(4, 0.1))
    assert errors["apd_deg"] == pytest.approx(np.full(4, np.degrees(0.3)))
    assert errors["apd_rmse"] == pytest.approx(np.full(4, 0.3 / np.sqrt(3)))


def test_open_eyes_are_the_references():
    upright = Rotation.identity(4)
    shut = looking([direction(0, 0)] * 4, upright, closed=[(0, 0), (0, 1)])
    wide = looking([direction(5, 0)] * 4, upright)
    for reference, predicted, known in ((shut, wide, [False, True]), (wide, shut, [True, True])):
        for options in ((), ("paper", shifted_readings())):
            errors = face_errors(pair(reference, predicted), *options)
            assert np.isfinite(errors["mae_open"][:2]).tolist() == known


PARTS = {"lmd_lips": lmd.LIPS, "lmd_eyes": lmd.EYES, "lmd_brows": lmd.BROWS, "lmd_mesh": range(468)}


@pytest.mark.parametrize("column", PARTS)
def test_each_part_of_the_face_has_its_own_column(column):
    """Only the part's points move, each by a twentieth of the frame."""
    face = any_face()
    landmarks = face.landmarks.copy()
    landmarks[:, list(PARTS[column]), 0] += 0.05
    errors = face_errors(pair(face, replace(face, landmarks=landmarks)))
    assert errors[column] == pytest.approx(np.full(4, 0.05), abs=1e-6)
    assert errors["lmd"] == pytest.approx(np.full(4, 0.05 * len(PARTS[column]) / 478), abs=1e-6)
    others = set(PARTS) - {column, "lmd_mesh"} if column != "lmd_mesh" else set()
    assert max((errors[name].max() for name in others), default=0) < 1e-6


def test_each_part_of_the_expression_has_its_own_column():
    face = any_face()
    for column, part in (("aed_brows", range(1, 6)), ("aed_eyes", range(9, 23)), ("aed_mouth", range(23, 50))):
        blendshapes = face.blendshapes.copy()
        blendshapes[:, list(part)] += 0.25
        errors = face_errors(pair(face, replace(face, blendshapes=blendshapes)))
        assert errors[column] == pytest.approx(np.full(4, 0.25), abs=1e-6)
        assert errors["aed"] == pytest.approx(np.full(4, 0.25 * len(part) / 52), abs=1e-6)
        assert errors["aed_rmse"] == pytest.approx(np.full(4, 0.25 * np.sqrt(len(part) / 52)), abs=1e-6)
