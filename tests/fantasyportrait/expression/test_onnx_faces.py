"""Inputs and outputs of the released face models, tested with small ONNX models of the same interface."""

from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exprbench.core.errors import UserError
from exprbench.faces.boxes import iou
from exprbench.media import write_video
from fantasyportrait.expression.onnx_faces import (
    FIVE_POINTS,
    OnnxLandmarkDetector,
    bounding_box,
    crop_matrix,
    decode_boxes,
    filter_boxes,
    letterbox,
    transform_points,
)

POINTS = [(17, 34, 1), (9, 17, 0), (9, 17, 0)]
NUM_POINTS = {8: 34 * 20, 16: 17 * 10, 32: 9 * 5}


def constant_model(path, shape, outputs):
    """Save an ONNX model that takes an image and returns constant arrays."""
    nodes = [helper.make_node("Constant", [], [name], value=numpy_helper.from_array(a)) for name, a in outputs.items()]
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape) for name, a in outputs.items()]
    graph = helper.make_graph(nodes, "faces", [given], infos)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path


def detector(path, boxes):
    """Save a detector that returns given boxes (in pixels of its input, multiples of 16) at stride 16 for any image."""
    scores = {s: np.zeros((1, n, 1), np.float32) for s, n in NUM_POINTS.items()}
    distances = {s: np.zeros((1, n, 32), np.float32) for s, n in NUM_POINTS.items()}
    for x, y, reach, score in boxes:
        at = (y // 16) * 10 + x // 16
        scores[16][0, at] = score
        logits = np.full((4, 8), -50.0, np.float32)
        logits[:, reach] = 50
        distances[16][0, at] = logits.ravel()
    outputs = {f"s{s}": a for s, a in scores.items()} | {f"d{s}": a for s, a in distances.items()}
    return constant_model(path, [1, 3, 272, 160], outputs)


def landmarks(path, roll_deg=0.0):
    """Save a landmark network that returns 222 points with tilted eyes for any crop, and return the points."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0.1, 0.9, (222, 2))
    angle = np.radians(roll_deg)
    points[74], points[96] = (0.3, 0.4), (0.3 + 0.4 * np.cos(angle), 0.4 + 0.4 * np.sin(angle))
    outputs = {"points": points.T.reshape(1, 444).astype(np.float32), "euler": np.zeros((1, 2), np.float32),
               "prob": np.ones((1, 1), np.float32)}  # fmt: skip
    return constant_model(path, [1, 3, 128, 128], outputs), points


def test_distances_are_expectations_at_the_grids_points():
    logits = np.zeros((45, 32), np.float32)
    logits[7].reshape(4, 8)[:, 3] = 100
    boxes = decode_boxes(logits, 32)
    assert boxes.shape == (45, 4)
    np.testing.assert_allclose(boxes[7], (2 * 32 - 96, 32 - 96, 2 * 32 + 96, 32 + 96))
    np.testing.assert_allclose(boxes[0], (-112, -112, 112, 112))  # 3.5 steps where nothing is known


def test_the_box_of_highest_score_is_kept_among_overlapping_ones():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [30, 30, 40, 40], [50, 50, 60, 60]], float)
    kept = filter_boxes(boxes, np.array([0.6, 0.9, 0.5, 0.4]))
    np.testing.assert_array_equal(kept, boxes[[1, 2]])
    assert filter_boxes(boxes, np.zeros(4)).shape == (0, 4)


def test_overlap_is_intersection_over_union():
    assert iou(np.array([0, 0, 2, 2]), np.array([1, 0, 3, 2])) == pytest.approx(1 / 3)
    assert iou(np.array([0, 0, 1, 1]), np.array([2, 2, 3, 3])) == 0


@pytest.mark.parametrize("shape", [(100, 200, 3), (300, 100, 3)])
def test_letterboxing_centres_the_frame_at_the_largest_size_that_fits(shape):
    picture, scale, shift = letterbox(np.full(shape, 200, np.uint8))
    assert picture.shape == (272, 160, 3)
    size = np.array(shape[1::-1]) * scale
    np.testing.assert_allclose(size + 2 * shift, (160, 272))
    x, y = shift + size / 2
    assert picture[int(y), int(x)].tolist() == [200, 200, 200]


@pytest.mark.parametrize("roll_deg", [0, 20, -35])
def test_crops_hold_the_points_upright_with_a_margin(roll_deg):
    points = np.random.default_rng(0).uniform((40, 60), (140, 220), (222, 2))
    spans = bounding_box(transform_points(crop_matrix(points, roll_deg), points))
    np.testing.assert_allclose((spans[:2] + spans[2:]) / 2, (64, 64), atol=1e-6)
    assert max(spans[2:] - spans[:2]) == pytest.approx(128 * 0.85)


def test_a_tilted_face_is_turned_level():
    along = np.array([np.cos(0.4), np.sin(0.4)])
    points = np.array([(50, 50) + t * along for t in np.linspace(0, 80, 20)])
    level = transform_points(crop_matrix(points, np.degrees(0.4)), points)
    assert np.ptp(level[:, 1]) < 1e-6


@pytest.fixture
def models(tmp_path):
    face, points = landmarks(tmp_path / "l.onnx")
    return detector(tmp_path / "d.onnx", [(48, 128, 1, 0.9), (112, 128, 1, 0.8)]), face, points


def test_boxes_come_back_in_the_frames_pixels(models):
    landmark_detector = OnnxLandmarkDetector(*models[:2])
    boxes = landmark_detector.detect(np.zeros((544, 320, 3), np.uint8))  # twice the input's size
    np.testing.assert_allclose(boxes, [(64, 224, 128, 288), (192, 224, 256, 288)])


def test_every_face_of_a_video_is_followed(models, tmp_path):
    write_video(tmp_path / "v.mp4", (np.full((544, 320, 3), 9 * i, np.uint8) for i in range(6)))
    left, right = OnnxLandmarkDetector(*models[:2])(tmp_path / "v.mp4", fps=25, max_frames=5)
    for person, x in ((left, 96), (right, 224)):
        assert person.seen.tolist() == [True] * 5
        assert person.points.shape == (5, 5, 2)
        middle = (person.boxes[0, :2] + person.boxes[0, 2:]) / 2 * (320, 544)
        np.testing.assert_allclose(middle, (x, 256), atol=8)
    points = models[2]
    shape = points[list(FIVE_POINTS)] - points[FIVE_POINTS[0]]
    relative = left.points[0] - left.points[0][0]
    np.testing.assert_allclose(relative / np.abs(relative).max(), shape / np.abs(shape).max(), atol=1e-3)


def test_missing_and_broken_models_are_refused(models, tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        OnnxLandmarkDetector(tmp_path / "absent.onnx", models[1])
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a readable ONNX model"):
        OnnxLandmarkDetector(models[0], tmp_path / "x.onnx")


def test_boxes_overlap_by_no_more_than_three_tenths():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 3], [0, 0, 10, 3.1], [20, 0, 30, 10]], float)
    kept = filter_boxes(boxes, np.array([0.9, 0.8, 0.7, 0.401]))
    np.testing.assert_array_equal(kept, boxes[[0, 1, 3]])
    assert len(filter_boxes(boxes[:1], np.array([0.4]))) == 0


class Session:
    """A network that notes its inputs and gives what it was made with."""

    def __init__(self, *outputs):
        self.outputs, self.inputs = outputs, []

    def get_inputs(self):
        return [SimpleNamespace(name="image")]

    def run(self, _names, inputs):
        self.inputs.append(inputs["image"])
        return list(self.outputs)


def landmark_detector(detector=None, landmarks=None):
    made = OnnxLandmarkDetector.__new__(OnnxLandmarkDetector)
    made._detector, made._landmarks = detector, landmarks
    return made


NOTHING = [np.zeros((1, n, 1), np.float32) for n in NUM_POINTS.values()]
NOWHERE = [np.zeros((1, n, 32), np.float32) for n in NUM_POINTS.values()]


def test_the_detector_sees_normalised_blue_green_and_red():
    session = Session(*NOTHING, *NOWHERE)
    landmark_detector(session).detect(np.full((272, 160, 3), (10, 20, 30), np.uint8))
    expected = (np.array([10, 20, 30]) - (103.53, 116.28, 123.675)) / (57.375, 57.12, 58.395)
    np.testing.assert_allclose(session.inputs[0][0, :, 100, 80], expected, rtol=1e-5)


def test_boxes_end_at_the_border_of_the_frame():
    scores = [s.copy() for s in NOTHING]
    scores[1][0, 0] = 0.9  # the corner; 3.5 steps of 16 to every side
    boxes = landmark_detector(Session(*scores, *NOWHERE)).detect(np.zeros((272, 160, 3), np.uint8))
    np.testing.assert_allclose(boxes, [[0, 0, 56, 56]])


def test_landmarks_are_read_three_times_each_where_the_last_time_pointed():
    points = np.random.default_rng(0).uniform(0.3, 0.7, (222, 2))
    points[74], points[96] = (0.4, 0.4), (0.5, 0.5)  # eyes on a line that falls by 45 degrees
    session = Session(points.T.reshape(1, 444).astype(np.float32))
    frame = np.random.default_rng(1).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    found = landmark_detector(landmarks=session).landmarks(frame, np.array([40.0, 40, 160, 160]))
    assert [x.shape for x in session.inputs] == [(1, 3, 128, 128)] * 3
    assert 0 <= session.inputs[0].min() < session.inputs[0].max() <= 1
    corners = np.array([[40.0, 40], [160, 160]])
    matrix = crop_matrix(corners, 0.0)
    for _ in range(3):
        expected = transform_points(cv2.invertAffineTransform(matrix), points * 128)
        matrix = crop_matrix(expected, 45.0)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_crop_leaves_a_margin_of_fifteen_hundredths():
    spans = bounding_box(
        transform_points(crop_matrix(np.array([[0.0, 0], [100, 50]]), 0.0), np.array([[0.0, 0], [100, 50]]))
    )
    assert spans[2] - spans[0] == pytest.approx(0.85 * 128)


class Seen(OnnxLandmarkDetector):
    """Finds faces at given places, as (frame, x, y): squares of 20 pixels."""

    def __init__(self, faces):
        self.faces, self.at, self.colours = faces, -1, []

    def detect(self, frame):
        self.at += 1
        self.colours.append(frame[0, 0].tolist())
        return [np.array([x, y, x + 20.0, y + 20]) for t, x, y in self.faces if t == self.at]

    def landmarks(self, frame, box):
        corners = np.array([[box[0], box[1]], [box[2], box[3]]])
        return np.resize(corners, (222, 2))


def followed(tmp_path, faces, num_frames=4):
    write_video(tmp_path / "v.mp4", (np.full((96, 160, 3), (200, 100, 0), np.uint8) for _ in range(num_frames)))
    seen = Seen(faces)
    return seen, seen(tmp_path / "v.mp4", fps=25, max_frames=None)


def test_people_are_those_seen_in_half_of_the_frames_from_left_to_right(tmp_path):
    faces = [(t, 100, 10) for t in range(4)] + [(t, 20, 60) for t in (1, 3)] + [(2, 60, 60)]
    seen, people = followed(tmp_path, faces)
    assert [p.seen.tolist() for p in people] == [[False, True, False, True], [True] * 4]
    np.testing.assert_allclose(people[0].boxes[1] * (160, 96, 160, 96), (20, 60, 40, 80), rtol=1e-5)
    assert np.isnan(people[0].points[0]).all()
    blue, _, red = seen.colours[0]
    assert (red > 150, blue < 50) == (True, True)  # in OpenCV's order


def test_a_face_far_from_where_it_was_is_another_persons(tmp_path):
    _, people = followed(tmp_path, [(0, 20, 10), (1, 20, 10), (2, 100, 10), (3, 100, 10)])
    assert [p.seen.tolist() for p in people] == [[True, True, False, False], [False, False, True, True]]


def test_two_boxes_of_one_face_are_one_person(tmp_path):
    _, people = followed(tmp_path, [(t, 20 + d, 10) for t in range(4) for d in (0, 3)])
    assert len(people) == 1
