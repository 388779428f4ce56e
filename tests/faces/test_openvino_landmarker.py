"""MediaPipe's networks in OpenVINO against MediaPipe, on the same crops of real frames.

The tolerances are 0.06 pixels, 2e-3 of a blendshape and 0.1 degrees. Both run in single precision, with kernels that
sum in another order. The largest differences measured are 0.054 pixels (one landmark of one face of two_person), 1.3e-3
(faces of two of 13 clips are above 1e-3) and 0.02 degrees.
"""

import numpy as np
import pytest

from exprbench.faces.landmarker import CROPS
from exprbench.faces.openvino_networks import batches
from exprbench.faces.video_tracks import landmarker
from exprbench.media import open_clip

pytest.importorskip("openvino")
pytest.importorskip("mediapipe")

CLIPS = (
    *(f"driving/{name}.mp4" for name in ("biden", "d0", "d3", "d10", "d11", "d12", "d13", "d20", "jgz", "noface_s13")),
    *("driving/s29.mp4", "driving/trump.mp4", "multi/two_person.mp4"),
)


@pytest.fixture
def engines(needs_weights):
    needs_weights("face_landmarker")
    return landmarker("mediapipe"), landmarker("openvino")


def frames_of(path, count, fps=2):
    with open_clip(path, fps=fps, max_frames=count) as clip:
        return list(clip)


def angle_deg(a, b):
    """The angle between two rotations times positive scales."""
    a, b = (m[:3, :3] / np.cbrt(np.linalg.det(m[:3, :3])) for m in (a, b))
    return np.degrees(2 * np.arcsin(min(1.0, np.linalg.norm(a - b) / np.sqrt(8))))


def assert_same(face, other):
    assert np.abs(face.points - other.points)[:, :2].max() < 0.06
    assert np.abs(face.blendshapes - other.blendshapes).max() < 2e-3
    assert angle_deg(face.pose, other.pose) < 0.1


def assert_same_in_crops(engines, frame):
    """The faces found in the frame, and in all crops that the tracker would make around them."""
    boxes = [engine.search(frame) for engine in engines]
    assert len(boxes[0]) == len(boxes[1])
    assert np.abs(np.array(boxes[0]) - boxes[1]).max(initial=0) <= 1
    for x0, y0, x1, y1 in boxes[0]:
        centre, side = np.array([x0 + x1, y0 + y1]) / 2, max(x1 - x0, y1 - y0)
        for crop in CROPS[:2]:
            pair = [engine.detect(frame, centre, crop * side) for engine in engines]
            assert len(pair[0]) == len(pair[1])
            for face, other in zip(*pair, strict=True):
                assert_same(face, other)
    return len(boxes[0])


@pytest.mark.shared
def test_faces_are_those_of_mediapipe(engines, shared):
    (frame,) = frames_of(shared("driving/d20.mp4"), 1)
    assert assert_same_in_crops(engines, frame) == 1


@pytest.mark.shared
@pytest.mark.parametrize("side", [401, 378, 350])
def test_positions_halfway_between_two_steps_are_rounded_as_by_mediapipe(engines, shared, side):
    """The scale from these crops to the detector's input makes every fourth column such a position."""
    (frame,) = frames_of(shared("driving/d20.mp4"), 1)
    pair = [engine.detect(frame, np.array([240, 240]), side)[0] for engine in engines]
    assert_same(*pair)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", CLIPS)
def test_faces_of_all_clips_are_those_of_mediapipe(engines, shared, name):
    counts = [assert_same_in_crops(engines, frame) for frame in frames_of(shared(name), 10)]
    assert max(counts) >= 1


@pytest.mark.shared
def test_a_picture_without_a_face_has_none(engines):
    for frame in (np.zeros((200, 300, 3), np.uint8), np.full((33, 200, 3), 200, np.uint8)):
        for engine in engines:
            assert engine.search(frame) == []
            assert engine.detect(frame, np.array([100, 20]), 64) == []
    assert engines[1].detect(frame, np.array([9000, 20]), 64) == []


@pytest.mark.shared
def test_a_face_is_followed_from_another_frame_in_any_batch(engines, shared):
    """A batch rounds differently than single faces: the sums of a layer may have another order."""
    _, openvino = engines
    frames = frames_of(shared("driving/d20.mp4"), 3, fps=25)
    (box,) = openvino.search(frames[0])
    (face,) = openvino.detect(frames[0], np.array([box[0] + box[2], box[1] + box[3]]) / 2, 2 * (box[2] - box[0]))
    together = openvino.follow([(frame, face) for frame in frames])
    for frame, followed in zip(frames, together, strict=True):
        (alone,) = openvino.follow([(frame, face)])
        assert_same(followed, alone)
        assert np.linalg.norm(followed.centre - face.centre) < 0.1 * face.side
    # the region of landmarks differs from that of a detection: landmarks depend on it by about a pixel
    assert np.abs(together[0].points - face.points)[:, :2].mean() < 3


@pytest.mark.shared
def test_where_no_face_is_any_more_none_is_followed(engines, shared):
    _, openvino = engines
    (frame,) = frames_of(shared("driving/d20.mp4"), 1)
    (box,) = openvino.search(frame)
    (face,) = openvino.detect(frame, np.array([box[0] + box[2], box[1] + box[3]]) / 2, 2 * (box[2] - box[0]))
    assert openvino.follow([(np.zeros_like(frame), face), (frame, face)])[0] is None
    assert openvino.follow([(frame[:1, :1], face)]) == [None]
    assert openvino.follow([]) == []


def test_batches_have_few_sizes_and_cover_all_pictures():
    assert [batches(n) for n in (0, 1, 3, 9)] == [
        *([], [(0, 1)], [(0, 1), (1, 1), (2, 1)], [(0, 4), (4, 4), (8, 1)]),
    ]
