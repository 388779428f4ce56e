"""Landmark detector with the released face detector and landmark network (ONNX), which the weights were trained with.

Unlike the released script, it follows every face, interpolates frames without a face instead of dropping them, keeps
small faces and does not smooth landmarks.
"""

from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.errors import UserError
from exprbench.faces.boxes import iou, non_maximum_suppression
from exprbench.media import open_clip
from fantasyportrait.expression.driver import FacePoints

INPUT_WIDTH, INPUT_HEIGHT = 160, 272
MEAN, STD = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])  # BGR
STRIDES = (8, 16, 32)
MIN_SCORE, MAX_IOU = 0.4, 0.3

CROP_SIZE = 128
MARGIN = 0.15
EYES = (74, 96)  # the line between them gives the head's roll
FIVE_POINTS = (182, 202, 36, 149, 133)
NUM_REFINEMENTS = 3
SAME_PERSON_IOU = 0.12
MIN_SEEN_RATE = 0.5


class OnnxLandmarkDetector:
    """`LandmarkDetector` that runs `face_det.onnx` and `face_landmark.onnx`."""

    def __init__(self, detector: Path, landmarks: Path) -> None:
        self._detector, self._landmarks = _load_session(detector), _load_session(landmarks)

    def __call__(self, path: Path, *, fps: float, max_frames: int | None) -> list[FacePoints]:
        """Return the people seen in at least half of the frames, left to right."""
        people: list[dict[int, np.ndarray]] = []
        num_frames, size = 0, (1, 1)
        with open_clip(path, fps=fps, max_frames=max_frames) as clip:
            for t, frame in enumerate(clip):
                num_frames, size = t + 1, (frame.shape[1], frame.shape[0])
                self._update_people(np.ascontiguousarray(frame[..., ::-1]), t, people)
        people = [p for p in people if len(p) >= MIN_SEEN_RATE * num_frames]
        return [_select_points(p, num_frames, size) for p in sorted(people, key=lambda p: p[min(p)][:, 0].mean())]

    def _update_people(self, frame: np.ndarray, t: int, people: list[dict[int, np.ndarray]]) -> None:
        """Assign every face in a BGR frame to the person it overlaps in earlier frames, or to a new person."""
        for box in self.detect(frame):
            points = self.landmarks(frame, box)
            unmatched = [p for p in people if t not in p]
            overlaps = [iou(bounding_box(points), bounding_box(p[max(p)])) for p in unmatched]
            if overlaps and max(overlaps) > SAME_PERSON_IOU:
                unmatched[int(np.argmax(overlaps))][t] = points
            elif all(iou(bounding_box(points), bounding_box(p[t])) <= SAME_PERSON_IOU for p in people if t in p):
                people.append({t: points})

    def detect(self, frame: np.ndarray) -> np.ndarray:
        """Detect faces in an (H, W, 3) BGR frame; return boxes (n, 4) in pixels, highest score first."""
        pixels, scale, shift = letterbox(frame)
        inputs = {
            self._detector.get_inputs()[0].name: ((pixels - MEAN) / STD).astype(np.float32).transpose(2, 0, 1)[None]
        }
        outputs = self._detector.run(None, inputs)
        scores = np.concatenate([o.reshape(-1) for o in outputs[:3]])
        boxes = np.concatenate([decode_boxes(o, s) for o, s in zip(outputs[3:], STRIDES, strict=True)])
        limits = np.tile(frame.shape[1::-1], 2)
        return ((filter_boxes(boxes, scores) - np.tile(shift, 2)) / scale).clip(0, limits)

    def landmarks(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Return the 222 landmarks (x, y) in pixels of one face in a BGR frame, refined on successive crops."""
        import cv2

        matrix = crop_matrix(box.reshape(2, 2), 0.0)
        for _ in range(NUM_REFINEMENTS):
            crop = cv2.warpAffine(frame, matrix, (CROP_SIZE, CROP_SIZE))
            inputs = {self._landmarks.get_inputs()[0].name: crop.transpose(2, 0, 1)[None].astype(np.float32) / 255}
            crop_points = self._landmarks.run(None, inputs)[0].reshape(2, -1).T * CROP_SIZE
            points = transform_points(cv2.invertAffineTransform(matrix), crop_points)
            # As in the released code, the roll is measured in the crop but applied to the frame.
            eye_line = crop_points[EYES[1]] - crop_points[EYES[0]]
            matrix = crop_matrix(points, float(np.degrees(np.arctan2(eye_line[1], eye_line[0]))))
        return points


def letterbox(frame: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Scale a frame to fit the detector's input and centre it; return the image, the scale and the (x, y) shift."""
    import cv2

    height, width = frame.shape[:2]
    scale = min(INPUT_WIDTH / width, INPUT_HEIGHT / height)
    shift = np.array([INPUT_WIDTH - width * scale, INPUT_HEIGHT - height * scale]) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(frame, matrix, (INPUT_WIDTH, INPUT_HEIGHT)), scale, shift


def decode_boxes(logits: np.ndarray, stride: int) -> np.ndarray:
    """Decode boxes (n, 4) from logits over 8 distances to each side, at every point of the stride's grid."""
    columns, rows = np.meshgrid(np.arange(INPUT_WIDTH / stride), np.arange(INPUT_HEIGHT / stride))
    logits = logits.reshape(-1, 4, 8).astype(np.float64)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    distances = (weights * np.arange(8)).sum(-1) / weights.sum(-1) * stride
    centres = np.tile(np.stack([columns.ravel(), rows.ravel()], 1) * stride, 2)
    return centres + distances * (-1, -1, 1, 1)


def filter_boxes(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the boxes (n, 4) above the score threshold after non-maximum suppression, highest score first."""
    candidates = [(float(score), tuple(box)) for score, box in zip(scores, boxes, strict=True) if score > MIN_SCORE]
    kept = non_maximum_suppression(candidates, MAX_IOU, iou)
    return np.array([box for _, box in kept]).reshape(-1, 4)


def bounding_box(points: np.ndarray) -> np.ndarray:
    """Return the bounding box (x0, y0, x1, y1) of (n, 2) points."""
    return np.concatenate([points.min(0), points.max(0)])


def crop_matrix(points: np.ndarray, roll_deg: float) -> np.ndarray:
    """Return the (2, 3) transform that rotates points by `roll_deg` and centres them in the crop, with a margin."""
    import cv2

    x0, y0, x1, y1 = bounding_box(points)
    centre = (float(x0 + x1) / 2, float(y0 + y1) / 2)
    rotated = bounding_box(transform_points(cv2.getRotationMatrix2D(centre, roll_deg, 1), points))
    scale = CROP_SIZE / max(rotated[2:] - rotated[:2]) * (1 - MARGIN)
    matrix = cv2.getRotationMatrix2D(centre, roll_deg, float(scale))
    scaled = bounding_box(transform_points(matrix, points))
    matrix[:, 2] += CROP_SIZE / 2 - (scaled[:2] + scaled[2:]) / 2
    return matrix


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a (2, 3) affine transform to (n, 2) points."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def _select_points(person: dict[int, np.ndarray], num_frames: int, size: tuple[int, int]) -> FacePoints:
    seen = np.isin(np.arange(num_frames), list(person))
    points = np.full((num_frames, 5, 2), np.nan, np.float32)
    boxes = np.full((num_frames, 4), np.nan, np.float32)
    for t, landmarks in person.items():
        points[t] = landmarks[list(FIVE_POINTS)]
        boxes[t] = bounding_box(landmarks) / np.tile(size, 2)
    return FacePoints(seen=seen, points=points, boxes=boxes)


def _load_session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            "the released face models need onnxruntime; install it with: pip install onnxruntime"
        ) from error
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises exceptions of its own, which it does not export
        raise UserError(f"{path} is not a readable ONNX model ({error}); download it again") from error
