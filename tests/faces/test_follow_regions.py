"""Faces followed in the regions of their previous landmarks, on patches of colour: the same tracks, in batches."""

import numpy as np
import pytest

from exprbench.faces.tracker import LOOKAHEAD, FaceTracker
from tests.faces.patches import FollowingLandmarker, PatchLandmarker, scene


def track(landmarker, frames, follow_regions=True, fps=25):
    tracker = FaceTracker(landmarker, fps=fps, follow_regions=follow_regions)
    for frame in frames:
        tracker.update(frame)
    return tracker


SCENES = {
    "still": [scene(red=(80, 90), blue=(220, 90)) for _ in range(60)],
    "moving": [scene(red=(40 + 3 * t, 90), green=(250, 50 + t)) for t in range(60)],
    "leaving and coming back": [scene(red=(80, 90), blue=None if 20 <= t < 40 else (220, 90)) for t in range(70)],
    "late": [scene(red=(80, 90), blue=(220, 90) if t >= 13 else None) for t in range(40)],
    "jumping": [scene(red=(80 if t < 30 else 240, 90)) for t in range(60)],
    "shorter than a batch": [scene(red=(80, 90))] * (LOOKAHEAD - 1),
    "empty": [],
}


@pytest.mark.parametrize("name", SCENES)
def test_tracks_are_those_of_the_detector(name):
    followed = track(FollowingLandmarker(), SCENES[name]).compute()
    detected = track(PatchLandmarker(), SCENES[name], follow_regions=False).compute()
    assert len(followed) == len(detected)
    for a, b in zip(followed, detected, strict=True):
        assert np.array_equal(a.seen, b.seen)
        assert np.allclose(a.landmarks, b.landmarks, equal_nan=True)


def test_frames_between_searches_are_found_in_batches_without_the_detector():
    landmarker = FollowingLandmarker()
    track(landmarker, SCENES["still"][:25]).compute()
    assert landmarker.batches == [2 * LOOKAHEAD] * 6  # two people, 24 frames after the first search
    assert landmarker.detections == 2  # those of the search


def test_the_detector_checks_the_faces_about_once_per_second():
    landmarker = FollowingLandmarker()
    track(landmarker, SCENES["still"]).compute()
    assert landmarker.detections == 2 * 3
    assert landmarker.searches == 3


def test_a_face_that_moves_is_found_again_in_the_region_of_its_last_frame():
    landmarker = FollowingLandmarker()
    frames = [scene(red=(40 + 7 * t, 90)) for t in range(25)]
    (followed,) = track(landmarker, frames).compute()
    assert followed.seen.all()
    assert len(landmarker.batches) > 6


def test_mediapipe_cannot_follow_and_detects_in_every_frame():
    landmarker = PatchLandmarker()
    tracker = track(landmarker, SCENES["still"][:20])
    assert not tracker.follow_regions
    assert tracker.num_frames == 20
    assert landmarker.detections == 2 * 20


def test_all_frames_count_after_the_result():
    tracker = track(FollowingLandmarker(), SCENES["still"][:10])
    assert len(tracker.compute()[0].seen) == tracker.num_frames == 10
