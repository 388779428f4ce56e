"""Faces followed in the regions of their previous landmarks, on patches of colour: the same tracks, in batches."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from exprbench.faces.tracker import LOOKAHEAD, FaceTracker
from exprbench.faces.video_tracks import landmarker
from tests.faces.patches import FollowingLandmarker, PatchLandmarker, scene
from tests.multiexpr.collection import two_people


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


class TurnedLandmarker(FollowingLandmarker):
    """Landmarker whose faces are turned by some angles around the vertical and the horizontal axis."""

    def __init__(self, *degrees):
        super().__init__()
        self.pose = np.eye(4)
        self.pose[:3, :3] = 1.1 * Rotation.from_euler("yx", degrees, degrees=True).as_matrix()

    def detect(self, frame, centre, side):
        return [replace(face, pose=self.pose) for face in super().detect(frame, centre, side)]

    def _near(self, frame, face):
        found = super()._near(frame, face)
        return found and replace(found, pose=self.pose)


@pytest.mark.parametrize(
    ("degrees", "is_followed"),
    [((24, 0), True), ((-24, 0), True), ((26, 0), False), ((0, -26), False), ((20, 20), False)],
)
def test_a_face_in_profile_is_detected_in_every_frame(degrees, is_followed):
    landmarker = TurnedLandmarker(*degrees)
    (followed,) = track(landmarker, [scene(red=(80, 90)) for _ in range(25)]).compute()
    assert followed.seen.all()
    assert bool(landmarker.batches) == is_followed
    assert landmarker.detections == (1 if is_followed else 25)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.weights
def test_a_head_that_turns_to_profile_has_the_landmarks_of_the_detector(shared, needs_weights):
    """In the first second and a half of the clip, the person on the left turns the head by up to 87 degrees."""
    pytest.importorskip("openvino")
    needs_weights("face_landmarker")
    frames = [frame[:, :330] for frame in two_people(shared("multi/two_person.mp4"))[:40]]
    (detected,) = track(landmarker("openvino"), frames, follow_regions=False).compute()
    (followed,) = track(landmarker("openvino"), frames).compute()
    both = followed.seen & detected.seen
    distance = np.linalg.norm((followed.landmarks - detected.landmarks)[both][..., :2] * (330, 360), axis=-1).mean(-1)
    assert distance.max() < 4  # pixels, of a face of 76; 22 if the profile is followed


def test_mediapipe_cannot_follow_and_detects_in_every_frame():
    landmarker = PatchLandmarker()
    tracker = track(landmarker, SCENES["still"][:20])
    assert not tracker.follow_regions
    assert tracker.num_frames == 20
    assert landmarker.detections == 2 * 20


def test_all_frames_count_after_the_result():
    tracker = track(FollowingLandmarker(), SCENES["still"][:10])
    assert len(tracker.compute()[0].seen) == tracker.num_frames == 10
