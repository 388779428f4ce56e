"""Second detections: the same in every run, of the same faces, and less noisy when averaged."""

import numpy as np
import pytest

from exprbench.faces.jitter import REACH, JitteredDetection, average, jitter, jittered_points
from exprbench.faces.landmarker import CROPS, Face
from exprbench.faces.video_tracks import landmarker, track_faces
from exprbench.media import open_clip
from exprbench.metrics.face_errors import face_errors
from exprbench.metrics.face_pair import FacePair, mean_seen
from tests.people import SIZE, people, person


def test_jitters_fill_their_range_and_do_not_repeat():
    all_of_them = [jitter(k, t) for t in range(50) for k in range(16)]
    values = np.array([[*shift / REACH, (scale - 1) / REACH] for shift, scale in all_of_them])
    assert np.abs(values).max() <= 1
    assert np.abs(values.mean(0)).max() < 0.02
    assert values.std(0) == pytest.approx(np.full(3, 1 / np.sqrt(3)), rel=0.05)
    assert len(np.unique(values.round(9), axis=0)) == len(values)
    assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 0.1


def test_points_move_as_the_crop_does():
    points = np.array([[0.0, 0], [100, 0], [100, 60], [0, 60]])
    shift, scale = jitter(3, 7)
    moved = jittered_points(points, 3, 7)
    assert moved.mean(0) == pytest.approx(np.array([50, 30]) + 100 * shift)
    assert np.ptp(moved, axis=0) == pytest.approx(scale * np.array([100, 60]))


class Recorder:
    """A landmarker that finds the face it is given, unless the crop is of another size."""

    def __init__(self, faces):
        self.faces, self.squares = faces, []

    def detect(self, frame, centre, side):
        self.squares.append((centre, side))
        return self.faces


def face_at(track, t, dx=0.0):
    points = track.landmarks[t].astype(float) * (SIZE[0], SIZE[1], SIZE[0]) + (dx, 0, 0)
    return Face(points, np.zeros(52), np.eye(4))


def test_the_crop_is_the_jittered_one_and_the_face_the_overlapping_one():
    tracks = people(3, person(3, hidden=(1,)))
    track = tracks.tracks[0]
    recorder = Recorder([face_at(track, 0, dx=80), face_at(track, 0, dx=1)])
    second = JitteredDetection(recorder, tracks, k=2)
    for _ in range(3):
        second.update(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    found = second.compute().tracks[0]
    assert found.seen.tolist() == [True, False, True]
    assert len(recorder.squares) == 2
    shift, scale = jitter(2, 0)
    box = track.box[0] * np.tile(SIZE, 2)
    side = max(box[2] - box[0], box[3] - box[1])
    assert recorder.squares[0][0] == pytest.approx((box[:2] + box[2:]) / 2 + shift * side)
    assert recorder.squares[0][1] == pytest.approx(CROPS[0] * scale * side)
    moved = (found.landmarks[0] - track.landmarks[0])[:, 0] * SIZE[0]
    assert moved == pytest.approx(np.ones(478), abs=1e-3)


def test_a_face_that_is_not_found_again_is_unseen():
    tracks = people(2, person(2))
    for faces in ([], [face_at(tracks.tracks[0], 0, dx=80)]):
        second = JitteredDetection(Recorder(faces), tracks, k=0)
        second.update(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
        assert not second.compute().tracks[0].seen.any()


def test_the_average_is_over_the_detections_that_show_the_face():
    a, b = people(3, person(3, seed=1, hidden=(0,))), people(3, person(3, seed=2, hidden=(0, 2)))
    (mean,) = average([a, b]).tracks
    first, second = a.tracks[0], b.tracks[0]
    assert mean.seen.tolist() == [False, True, True]
    np.testing.assert_allclose(mean.landmarks[1], (first.landmarks[1] + second.landmarks[1]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(mean.blendshapes[2], first.blendshapes[2])
    assert np.isnan(mean.pose[0]).all()
    same = average([a, a]).tracks[0]
    np.testing.assert_allclose(same.landmarks[1:], first.landmarks[1:], rtol=1e-6)


@pytest.mark.slow
def test_four_crops_halve_the_floor_on_a_real_clip(shared, needs_weights):
    needs_weights("face_landmarker")
    path = shared("driving/d20.mp4")
    tracks = track_faces(path, max_frames=20)
    detections = [JitteredDetection(landmarker(), tracks, k) for k in range(8)]
    with open_clip(path, fps=25, max_frames=20) as clip:
        for frame in clip:
            for detection in detections:
                detection.update(frame)
    found = [detection.compute() for detection in detections]

    def floor(name, num):
        pair = FacePair(
            reference=average(found[:num]).tracks[0],
            predicted=average(found[num : 2 * num]).tracks[0],
            reference_size=tracks.size,
            predicted_size=tracks.size,
        )
        return mean_seen(face_errors(pair, [name])[name])

    for name in ("lmd", "mae", "aed", "apd"):
        assert 0 < floor(name, 4) < 0.7 * floor(name, 1), name
