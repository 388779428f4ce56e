"""Noise floors of the columns of several people and of the source image."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from exprbench import build, score
from exprbench.benchmark import Case
from exprbench.faces.jitter import JitteredDetection, jittered_points
from exprbench.faces.video_tracks import landmarker, track_faces
from exprbench.media import open_clip, write_video
from exprbench.metrics import dlib_identity
from exprbench.metrics.face_pair import FacePair
from exprbench.records import Aggregate
from exprbench.scoring import face_floors
from exprbench.scoring.floors import with_floors
from exprbench.scoring.groups import make_group
from tests.people import SIZE, person

BENCHMARK_FPS = 25
ADA, BO, CY = ("ada.mp4", 0), ("ada.mp4", 1), ("cy.mp4", 0)


def case_of(*people, case_id="multi-cross-0001"):
    drivers = tuple(dict.fromkeys(driver for driver, _ in people))
    face_map = tuple((drivers.index(driver), face) for driver, face in people)
    split, track, _ = case_id.split("-")
    return Case(case_id=case_id, split=split, track=track, source="s.png", drivers=drivers, face_map=face_map)


def test_each_person_and_the_people_of_each_case_are_measured_once(monkeypatch, own_cache):
    monkeypatch.setattr(face_floors, "_is_given", lambda plan, driver: False)
    monkeypatch.setattr(face_floors, "_key", lambda plan, people, columns: [people, columns])
    measured = []

    def pair(plan, columns, driver, face):
        measured.append((driver, face))
        first = person(40, seed=len(driver) + 7 * face)
        noise = np.random.default_rng(face).normal(0, 0.01, first.blendshapes.shape).astype(np.float32)
        second = replace(first, blendshapes=first.blendshapes + noise)
        return FacePair(reference=first, predicted=second, reference_size=SIZE, predicted_size=SIZE)

    monkeypatch.setattr(face_floors, "_pair", pair)
    plan = SimpleNamespace(columns=("aed", "swap", "swap_margin"), without={}, unavailable_reason=lambda metric: "")
    cases = [case_of(ADA, BO), case_of(CY, BO), case_of(BO, CY), case_of(CY, case_id="single-self-0001")]
    floors = face_floors.face_floors(plan, cases, workers=0)
    assert floors.keys() == {(ADA,), (BO,), (CY,), (ADA, BO), (CY, BO), (BO, CY)}
    assert len(measured) == 3 + 2 * 3
    assert all(f.keys() == {"aed"} for people, f in floors.items() if len(people) == 1)
    assert floors[ADA, BO]["swap"] == 0
    assert 0.8 < floors[ADA, BO]["swap_margin"] < 1
    assert floors[CY, BO] == pytest.approx(floors[BO, CY])
    expected = np.abs(np.random.default_rng(1).normal(0, 0.01, (40, 52))).mean()
    assert floors[BO,]["aed"] == pytest.approx(expected, rel=1e-5)
    measured.clear()
    assert face_floors.face_floors(plan, cases, workers=0) == floors
    assert measured == []  # from the cache


def test_a_group_has_the_mean_over_its_cases():
    cases = [case_of(ADA, BO), case_of(CY, BO, case_id="multi-cross-0002"), case_of(CY, case_id="single-cross-0001")]
    of_faces = {(ADA,): {"aed": 1.0}, (BO,): {"aed": 3.0}, (CY,): {"aed": 9.0}, (ADA, BO): {"swap": 0.25}}
    group = replace(
        make_group("multi", "cross", [], [], {}, 2),
        aggregates={name: Aggregate(value=0.0, num_videos=2) for name in ("aed", "swap", "swap_margin")},
    )
    aggregates = with_floors(group, cases, of_faces, {}).aggregates
    assert (aggregates["aed"].floor, aggregates["swap"].floor) == (4.0, 0.25)
    assert aggregates["swap_margin"].floor is None
    assert with_floors(group, cases, {(ADA,): {"aed": 1.0}}, {}).aggregates["aed"].floor is None


def second_detections(path):
    """Return the tracks of a video, those of the second detection, and the frames."""
    tracks = track_faces(path)
    again = JitteredDetection(landmarker(), tracks, 1)
    with open_clip(path, fps=BENCHMARK_FPS) as clip:
        frames = list(clip)
    for frame in frames:
        again.update(frame)
    return tracks, again.compute(), frames


def embeddings(frames, track, jitter=None):
    crops = []
    for t, frame in enumerate(frames):
        points = track.landmarks[t, :, :2].astype(float) * (frame.shape[1], frame.shape[0])
        crops.append(dlib_identity.crop(frame, points if jitter is None else jittered_points(points, jitter, t)))
    found = dlib_identity.load("cpu")(crops)["dlib_identity"]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.slow
def test_identity_and_swaps_of_filmed_people_have_floors(shared, needs_weights, tmp_path, own_cache):
    for name in ("face_landmarker", "dlib_identity"):
        needs_weights(name)
    sources = {
        "portraits": "portraits/s1.jpg",
        "driving": "driving/d20.mp4",
        "multi_portraits": "multi/two_person.png",
        "multi_driving": "multi/two_person.mp4",
    }
    for folder, name in sources.items():
        (tmp_path / folder).mkdir()
        shutil.copyfile(shared(name), tmp_path / folder / name.split("/")[1])
    folders = {folder: tmp_path / folder for folder in sources}
    bench = build(**folders, out=tmp_path / "bench", clip_seconds=1, workers=0)
    (tmp_path / "predictions").mkdir()
    own = [case for case in bench.cases if case.track == "self"]
    found = {case.split: second_detections(bench.path(case.drivers[0])) for case in own}
    for case in own:
        write_video(tmp_path / "predictions" / f"{case.case_id}.mp4", found[case.split][2], fps=BENCHMARK_FPS, crf=18)
    record = score(
        benchmark=bench.root,
        predictions=tmp_path / "predictions",
        method="copy",
        metrics=["aed", "apd", "csim"],
        track="self",
        workers=0,
        out=tmp_path / "record.json",
    )
    tracks, again, frames = found["single"]
    source = embeddings(frames[:1], tracks.tracks[0])[0]
    csim = record.group("single", "self").aggregates["csim"]
    assert csim.floor == pytest.approx((embeddings(frames, again.tracks[0], 1) @ source).mean(), rel=1e-6)
    assert 0.95 < csim.floor < 1
    assert csim.value == pytest.approx(csim.floor, abs=0.02)  # a copy is as similar as a second detection
    two = record.group("multi", "self").aggregates
    assert two["swap"].floor < 0.1
    assert 0.5 < two["swap_margin"].floor < 1
    assert 0.9 < two["csim"].floor < 1
