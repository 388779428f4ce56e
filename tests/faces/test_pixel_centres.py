"""Landmarks do not depend on the resolution: the centre of the first pixel is at (0.5, 0.5) pixels."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from exprbench.faces import FaceTrack, gaze
from exprbench.faces.landmarker import _face
from exprbench.faces.tracker import FaceTracker
from exprbench.faces.video_tracks import landmarker
from exprbench.media import read_clip, write_video
from exprbench.toy_benchmark.animation import perform
from exprbench.toy_benchmark.cast import CAST
from exprbench.toy_benchmark.scene import render

CLIPS = ("d0", "d10", "d12", "d20", "d3", "jgz", "trump")
FACTORS = (0.5, 0.75, 1.5, 2.0)
MAX_SHIFT_PX = 0.15  # without the correction: 0.7 at half size
MAX_RATIO = 1.75


@pytest.fixture(scope="module")
def follow():
    def run(frames):
        tracker = FaceTracker(landmarker(), fps=25)
        for frame in frames:
            tracker.update(frame)
        return tracker.compute()[0]

    return run


def resized(frames, factor):
    size = tuple(round(side * factor) for side in frames[0].shape[1::-1])
    return [cv2.resize(f, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC) for f in frames]


def reencoded(path, frames):
    write_video(path, frames, crf=18)
    return read_clip(path)[0]


def difference(track: FaceTrack, reference: FaceTrack) -> np.ndarray:
    """The differences (T, 478, 2) in [0, 1] of the frame, in the frames in which both are seen."""
    both = track.seen & reference.seen
    return (track.landmarks - reference.landmarks)[both, :, :2].astype(np.float64)


def test_landmarks_are_measured_from_the_corner_of_the_frame():
    landmark = SimpleNamespace(x=0.25, y=0.5, z=0.1)
    face = _face([landmark], [], np.eye(4), origin=(10, 20), side=100)
    assert face.points == pytest.approx(np.array([[10 + 25 + 0.5, 20 + 50 + 0.5, 10]]))


@pytest.mark.shared
@pytest.mark.slow
def test_a_copy_of_another_size_has_its_landmarks_in_the_same_places(shared, needs_weights, follow, tmp_path):
    """Over the clips, the mean shift is small, and the LMD of half-size copies is mostly that of the encoding.

    A single clip at half size can be shifted by up to 0.4 pixels, because the network sees fewer details.
    """
    needs_weights("face_landmarker")
    shifts_px, lmd = ({factor: [] for factor in (1.0, *FACTORS)} for _ in range(2))
    for name in CLIPS:
        frames = read_clip(shared(f"driving/{name}.mp4"), fps=25, max_frames=10)[0]
        frames = frames[:, : frames.shape[1] // 8 * 8, : frames.shape[2] // 8 * 8]
        reference, size = follow(frames), frames.shape[2:0:-1]
        for factor in lmd:
            copy = follow(reencoded(tmp_path / "copy.mp4", resized(frames, factor)))
            offsets = difference(copy, reference)
            shifts_px[factor].append((offsets * size).mean((0, 1)))
            lmd[factor].append(np.linalg.norm(offsets, axis=-1).mean())
    for factor in FACTORS:
        assert np.linalg.norm(np.mean(shifts_px[factor], axis=0)) < MAX_SHIFT_PX, factor
    assert np.mean(lmd[0.5]) < MAX_RATIO * np.mean(lmd[1.0])


@pytest.mark.slow
def test_drawn_faces_have_the_same_error_at_every_size(needs_weights, follow):
    """The mean difference from the true landmarks, in pixels of 512, does not depend on the size of the frame."""
    needs_weights("face_landmarker")
    errors_px = {}
    for side in (256, 384, 512, 768):
        errors = []
        for character in CAST:
            frames, true = render([character], [perform(3, 6)], (side, side))
            errors.append(difference(follow(frames), true.tracks[0]).mean((0, 1)) * 512)
        errors_px[side] = np.mean(errors, axis=0)
    for side, error_px in errors_px.items():
        assert np.linalg.norm(error_px - errors_px[512]) < MAX_SHIFT_PX, side


def test_a_shift_of_all_landmarks_leaves_the_gaze_as_it_is():
    _, tracks = render([CAST[0]], [perform(3, 6)], (256, 256))
    track = tracks.tracks[0]
    landmarks = track.landmarks.astype(np.float64)
    shifted = landmarks + np.array([0.5, 0.5, 0]) / 256
    before, after = (gaze(points, track.pose, tracks.size) for points in (landmarks, shifted))
    assert after == pytest.approx(before, abs=1e-12)
