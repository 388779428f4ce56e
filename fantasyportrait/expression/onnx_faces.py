"""The released face detector and landmark network (ONNX), for those who want the alignment the weights were trained on.

Unlike the released script: every face is followed, frames without one are filled instead of dropped, small faces are
kept, and landmarks are not smoothed.
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
MIN_SCORE, MAX_OVERLAP = 0.4, 0.3

CROP = 128
MARGIN = 0.15
EYES = (74, 96)  # their level is the head's roll
FIVE_POINTS = (182, 202, 36, 149, 133)
ROUNDS = 3
SAME_OVERLAP = 0.12  # of two boxes: one person
MIN_SEEN_RATE = 0.5


class OnnxPoints:
    """A `PointFinder` made of `face_det.onnx` and `face_landmark.onnx`."""

    def __init__(self, detector: Path, landmarks: Path) -> None:
        self._detector, self._landmarks = _session(detector), _session(landmarks)

    def __call__(self, path: Path, *, fps: float, max_frames: int | None) -> list[FacePoints]:
        """The people seen in at least half of the frames, left to right."""
        people: list[dict[int, np.ndarray]] = []
        num_frames, size = 0, (1, 1)
        with open_clip(path, fps=fps, max_frames=max_frames) as clip:
            for t, frame in enumerate(clip):
                num_frames, size = t + 1, (frame.shape[1], frame.shape[0])
                self._follow(np.ascontiguousarray(frame[..., ::-1]), t, people)
        people = [p for p in people if len(p) >= MIN_SEEN_RATE * num_frames]
        return [_points(p, num_frames, size) for p in sorted(people, key=lambda p: p[min(p)][:, 0].mean())]

    def _follow(self, frame: np.ndarray, t: int, people: list[dict[int, np.ndarray]]) -> None:
        """Read the landmarks of every face in a BGR frame; each is somebody's from the last frames, or somebody new."""
        for box in self.detect(frame):
            points = self.landmarks(frame, box)
            absent = [p for p in people if t not in p]
            shares = [iou(box_of(points), box_of(p[max(p)])) for p in absent]
            if shares and max(shares) > SAME_OVERLAP:
                absent[int(np.argmax(shares))][t] = points
            elif all(iou(box_of(points), box_of(p[t])) <= SAME_OVERLAP for p in people if t in p):
                people.append({t: points})

    def detect(self, frame: np.ndarray) -> np.ndarray:
        """Boxes (n, 4) of the faces in an (H, W, 3) BGR frame, the most certain first."""
        pixels, scale, shift = letterbox(frame)
        inputs = {
            self._detector.get_inputs()[0].name: ((pixels - MEAN) / STD).astype(np.float32).transpose(2, 0, 1)[None]
        }
        outputs = self._detector.run(None, inputs)
        scores = np.concatenate([o.reshape(-1) for o in outputs[:3]])
        boxes = np.concatenate([decode_boxes(o, s) for o, s in zip(outputs[3:], STRIDES, strict=True)])
        limits = np.tile(frame.shape[1::-1], 2)
        return ((strongest(boxes, scores) - np.tile(shift, 2)) / scale).clip(0, limits)

    def landmarks(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        """The 222 points (x, y) in pixels of one face in a BGR frame; each round looks where the last one pointed."""
        import cv2

        corners = box.reshape(2, 2)
        matrix = crop_matrix(corners, 0.0)
        for _ in range(ROUNDS):
            crop = cv2.warpAffine(frame, matrix, (CROP, CROP))
            inputs = {self._landmarks.get_inputs()[0].name: crop.transpose(2, 0, 1)[None].astype(np.float32) / 255}
            found = self._landmarks.run(None, inputs)[0].reshape(2, -1).T * CROP
            points = apply(cv2.invertAffineTransform(matrix), found)
            # The roll is read in the crop, as released, so each round turns relative to the frame anew.
            across = found[EYES[1]] - found[EYES[0]]
            matrix = crop_matrix(points, float(np.degrees(np.arctan2(across[1], across[0]))))
        return points


def letterbox(frame: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The frame in the middle of the detector's input, as large as fits; its scale and shift."""
    import cv2

    height, width = frame.shape[:2]
    scale = min(INPUT_WIDTH / width, INPUT_HEIGHT / height)
    shift = np.array([INPUT_WIDTH - width * scale, INPUT_HEIGHT - height * scale]) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(frame, matrix, (INPUT_WIDTH, INPUT_HEIGHT)), scale, shift


def decode_boxes(distances: np.ndarray, stride: int) -> np.ndarray:
    """Boxes from distributions over 8 distances to each side, at every point of the stride's grid."""
    columns, rows = np.meshgrid(np.arange(INPUT_WIDTH / stride), np.arange(INPUT_HEIGHT / stride))
    logits = distances.reshape(-1, 4, 8).astype(np.float64)
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    reach = (shares * np.arange(8)).sum(-1) / shares.sum(-1) * stride
    centres = np.tile(np.stack([columns.ravel(), rows.ravel()], 1) * stride, 2)
    return centres + reach * (-1, -1, 1, 1)


def strongest(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the boxes (n, 4) above the least score, without those that overlap a stronger one."""
    found = [(float(score), tuple(box)) for score, box in zip(scores, boxes, strict=True) if score > MIN_SCORE]
    kept = non_maximum_suppression(found, MAX_OVERLAP, iou)
    return np.array([box for _, box in kept]).reshape(-1, 4)


def box_of(points: np.ndarray) -> np.ndarray:
    """What the points span."""
    return np.concatenate([points.min(0), points.max(0)])


def crop_matrix(points: np.ndarray, roll_deg: float) -> np.ndarray:
    """The (2, 3) map that turns the points level and puts them in the middle of the crop, with a margin."""
    import cv2

    x0, y0, x1, y1 = box_of(points)
    middle = (float(x0 + x1) / 2, float(y0 + y1) / 2)
    spans = box_of(apply(cv2.getRotationMatrix2D(middle, roll_deg, 1), points))
    scale = CROP / max(spans[2:] - spans[:2]) * (1 - MARGIN)
    matrix = cv2.getRotationMatrix2D(middle, roll_deg, float(scale))
    turned = box_of(apply(matrix, points))
    matrix[:, 2] += CROP / 2 - (turned[:2] + turned[2:]) / 2
    return matrix


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A (2, 3) map of (n, 2) points."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def _points(person: dict[int, np.ndarray], num_frames: int, size: tuple[int, int]) -> FacePoints:
    seen = np.isin(np.arange(num_frames), list(person))
    points = np.full((num_frames, 5, 2), np.nan, np.float32)
    boxes = np.full((num_frames, 4), np.nan, np.float32)
    for t, landmarks in person.items():
        points[t] = landmarks[list(FIVE_POINTS)]
        boxes[t] = box_of(landmarks) / np.tile(size, 2)
    return FacePoints(seen=seen, points=points, boxes=boxes)


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("the released face models need onnxruntime: pip install onnxruntime") from error
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises kinds of its own, which it does not export
        raise UserError(f"{path} is not an ONNX model that can be read ({error})") from error
