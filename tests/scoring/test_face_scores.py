"""Matching of a case's faces, the frames that are compared, and missing faces."""

from dataclasses import replace

import numpy as np
import pytest

from exprbench import UserError
from exprbench.faces.tracks import load_tracks
from exprbench.faces.video_tracks import given_path
from exprbench.metrics import face_readers
from tests.folders import rewritten
from tests.people import give, moved, people, person
from tests.scoring.conftest import NUM_FRAMES, case_of

OWN, DUO, PAIR = "single-self-0001", "multi-self-0001", "multi-cross-0001"
ADA, DUO_DRIVER = "driving/ada.mp4", "driving/multi-duo.mp4"
ONE = {"metrics": ["lmd", "aed"], "split": "single", "track": "self"}
CROSS = {"metrics": ["aed"], "split": "multi", "track": "cross"}


@pytest.fixture
def changed(method, tmp_path):
    """`changed(files=..., cases=...)`: the same predictions for a benchmark of other files or cases."""

    def change(**changes):
        method.bench = rewritten(method.bench, tmp_path / "changed", **changes)
        return method

    return change


def with_tracks(*tracks):
    """Function that gives a driver other tracks."""

    def write(path):
        there = load_tracks(given_path(path))
        give(path, replace(there, tracks=tracks))

    return write


def aed_between(a, b):
    return np.abs(a.blendshapes.astype(float) - b.blendshapes).mean()


def cases_with(bench, case_id, **fields):
    return tuple(replace(c, **fields) if c.case_id == case_id else c for c in bench.cases)


def test_frames_in_which_the_reference_shows_no_face_do_not_count(changed):
    """They are not in the means, not in the detect rate, and not penalised."""
    hidden = person(NUM_FRAMES, seed=0, hidden=range(10))
    method = changed(files={ADA: with_tracks(hidden)})
    for missing in ("exclude", "penalty"):
        case = case_of(method.score(**ONE, missing=missing), OWN)
        assert (case.detect_rate, case.values["lmd"], case.values["aed"]) == (1, 0, 0)


def test_a_reference_unseen_in_all_frames_scored_has_no_detect_rate(changed):
    method = changed(files={ADA: with_tracks(person(NUM_FRAMES, seed=0, hidden=range(10)))})
    tracks = method.tracks(OWN)
    method.write(OWN, method.frames(OWN)[:5])
    method.give(OWN, tracks.first(5))
    case = case_of(method.score(**ONE), OWN)
    assert (case.outcome, case.detect_rate, case.values) == ("scored", None, {})


@pytest.mark.parametrize(("missing", "aed"), [("exclude", 0), ("penalty", 0.25)])
def test_only_the_frames_a_face_is_missing_in_get_the_worst_value(method, missing, aed):
    tracks = method.tracks(OWN)
    method.give(OWN, replace(tracks, tracks=(person(NUM_FRAMES, seed=0, hidden=range(10)),)))
    case = case_of(method.score(**ONE, missing=missing), OWN)
    assert case.values["aed"] == pytest.approx(aed, abs=1e-7)
    assert case.values["lmd"] == pytest.approx(aed, abs=1e-7)
    assert case.detect_rate == 0.75


def tiled(outputs, count):
    return {name: np.tile(np.array(values, float), (count, 1)) for name, values in outputs.items()}


def test_the_worst_value_is_that_of_the_profile(method, model_file, monkeypatch):
    for name in ("l2cs", "smirk"):
        model_file(name, lambda path: path.write_bytes(b"a model"))
    outputs = {"l2cs": {"gaze": (0, 0, 1)}, "smirk": {"expression": np.zeros(55), "pose": np.zeros(3)}}
    monkeypatch.setattr(face_readers, "loaded", lambda name, _: lambda crops: tiled(outputs[name], len(crops)))
    tracks = method.tracks(OWN)
    method.give(OWN, replace(tracks, tracks=(person(NUM_FRAMES, seed=0, hidden=range(10)),)))
    options = {"metrics": ["mae", "aed", "apd"], "split": "single", "track": "self", "missing": "penalty"}
    values = case_of(method.score(**options, profile="paper"), OWN).values
    assert (values["mae"], values["aed"], values["aed_full"], values["apd"]) == (90 / 4, 2 / 4, 2 / 4, 1 / 4)
    assert values["apd_deg"] == 180 / 4


def test_pixels_are_the_references_and_a_shift_of_a_larger_prediction_is_its_share(method):
    tracks = method.tracks(OWN)
    shifted = moved(tracks.tracks[0], 0.1)
    method.give(OWN, people(NUM_FRAMES, shifted, size=(640, 96)))
    values = case_of(method.score(**ONE), OWN).values
    assert values["lmd"] == pytest.approx(0.1, rel=1e-5)
    assert values["lmd_px"] == pytest.approx(16, rel=1e-5)


def test_a_bystander_is_extra_only_if_seen_in_half_of_the_frames(method):
    tracks = method.tracks(OWN)
    glimpse, stays = person(NUM_FRAMES, x=3.0, seed=9, hidden=range(5, NUM_FRAMES)), person(NUM_FRAMES, x=4.0, seed=9)
    for others, extra in (((glimpse,), 0), ((stays,), 1), ((glimpse, stays), 1)):
        method.give(OWN, replace(tracks, tracks=(*others, *tracks.tracks)))
        case = case_of(method.score(**ONE), OWN)
        assert (case.num_faces_extra, case.num_faces, case.num_faces_missing) == (extra, 1, 0)
        assert case.values["lmd"] == 0


def test_faces_of_a_driver_are_counted_among_those_who_stay(changed):
    """A person seen briefly does not change the indices of the others."""
    left, right = person(NUM_FRAMES, x=0.3, seed=5), person(NUM_FRAMES, x=0.7, seed=6)
    glimpse = person(NUM_FRAMES, x=0.1, seed=9, hidden=range(5, NUM_FRAMES))
    method = changed(files={DUO_DRIVER: with_tracks(glimpse, left, right)})
    assert case_of(method.score(**{**CROSS, "track": "self"}), DUO).values["aed"] == 0
    assert case_of(method.score(**CROSS), PAIR).values["aed"] == 0


LEFT, RIGHT = person(NUM_FRAMES, x=0.3, seed=5), person(NUM_FRAMES, x=0.7, seed=6)  # as the driver shows them


@pytest.mark.parametrize(
    ("face_map", "shown", "aed"),
    [
        (((0, 0), (0, 1)), (LEFT, RIGHT), 0),
        (((0, 1), (0, 0)), (LEFT, RIGHT), aed_between(LEFT, RIGHT)),
        (((0, 1), (0, 0)), (moved(RIGHT, -0.4), moved(LEFT, 0.4)), 0),
        ((None, (0, 0)), (RIGHT, moved(LEFT, 0.6)), 0),
        (((0, 1), None), (moved(RIGHT, -0.4), moved(LEFT, 0.4)), 0),
        (((0, 1), (0, 1)), (RIGHT, moved(RIGHT, 0.2)), 0),
    ],
)
def test_every_face_of_the_source_is_compared_with_its_driver(changed, method, face_map, shown, aed):
    changed(cases=cases_with(method.bench, PAIR, face_map=face_map))
    method.give(PAIR, people(NUM_FRAMES, *shown))
    case = case_of(method.score(**CROSS), PAIR)
    assert case.values["aed"] == pytest.approx(aed, abs=1e-7)
    assert case.num_faces == sum(pair is not None for pair in face_map)


def test_several_drivers_give_a_face_each(changed, method):
    """Over the frames of the shortest one."""
    ada, dee = (load_tracks(given_path(method.bench.path(f"driving/{name}.mp4"))).tracks[0] for name in ("ada", "dee"))
    drivers, face_map = ("driving/dee.mp4", "driving/ada.mp4"), ((0, 0), (1, 0))
    shorter = replace(method.bench.assets["driving/ada.mp4"], num_frames=30)
    changed(assets={ADA: shorter}, cases=cases_with(method.bench, PAIR, drivers=drivers, face_map=face_map))
    method.give(PAIR, people(NUM_FRAMES, moved(dee, -0.2), moved(ada, 0.2)))
    case = case_of(method.score(**CROSS), PAIR)
    assert (case.values["aed"], case.num_faces, case.num_frames_reference, case.num_frames) == (0, 2, 30, 30)
    method.give(PAIR, people(NUM_FRAMES, moved(ada, -0.2), moved(dee, 0.2)))
    assert case_of(method.score(**CROSS), PAIR).values["aed"] > 0.05


def test_a_driver_can_be_used_twice(changed, method):
    face = load_tracks(given_path(method.bench.path(ADA))).tracks[0]
    changed(cases=cases_with(method.bench, PAIR, drivers=(ADA, ADA), face_map=((0, 0), (1, 0))))
    method.give(PAIR, people(NUM_FRAMES, moved(face, -0.2), moved(face, 0.2)))
    case = case_of(method.score(**CROSS), PAIR)
    assert (case.outcome, case.values["aed"], case.num_faces) == ("scored", 0, 2)


@pytest.mark.parametrize(("found", "matched"), [(True, 0), (False, 1)])
def test_known_faces_of_the_source_decide_which_face_is_missing(changed, method, found, matched):
    """One of two faces is missing: matched by the positions of the source's faces, or by evenly spaced ones."""
    sources = person(1, x=0.6), person(1, x=0.95)
    source = "portraits/multi-pair.png"
    faces = replace(method.bench.assets[source], faces_found=found)
    changed(files={source: with_tracks(*sources)}, assets={source: faces})
    method.give(PAIR, people(NUM_FRAMES, moved((LEFT, RIGHT)[matched], 0.6 - (0.3, 0.7)[matched])))
    case = case_of(method.score(**CROSS), PAIR)
    assert (case.values["aed"], case.num_faces, case.num_faces_missing) == (pytest.approx(0, abs=1e-7), 2, 1)


def test_a_column_that_is_defined_in_no_frame_has_its_own_reason(changed, method):
    """Eyes closed throughout: no value for open eyes, though the face is seen."""
    face = load_tracks(given_path(method.bench.path(ADA))).tracks[0]
    closed = face.blendshapes.copy()
    closed[:, 9:11] = 0.9
    changed(files={ADA: with_tracks(replace(face, blendshapes=closed))})
    case = case_of(method.score(metrics=["mae"], split="single", track="self"), OWN)
    assert case.unscored == {"mae_open": "no frame in which it is defined"}
    assert case.values["mae"] == 0


def test_one_face_without_a_value_leaves_the_mean_to_the_other(changed, method):
    closed = LEFT.blendshapes.copy()
    closed[:, 9:11] = 0.9
    changed(files={DUO_DRIVER: with_tracks(replace(LEFT, blendshapes=closed), RIGHT)})
    case = case_of(method.score(metrics=["mae"], split="multi", track="self"), DUO)
    assert case.values["mae_open"] == pytest.approx(0, abs=1e-9)


def test_an_unreadable_driver_is_a_user_error(changed, method):
    def spoil(path):
        path.write_bytes(b"nothing of use")
        give(path, replace(load_tracks(given_path(path)), video_sha256=""))

    changed(files={ADA: spoil})
    with pytest.raises(UserError, match=r"the benchmark's .*ada\.mp4 cannot be read .*see exprbench check"):
        method.score(**{**ONE, "metrics": ["psnr"]})
