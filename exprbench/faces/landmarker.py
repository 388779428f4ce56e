"""MediaPipe's Face Landmarker on crops, in IMAGE mode; VIDEO mode is not deterministic."""

import ctypes
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from exprbench.faces.boxes import Box, non_maximum_suppression, overlap
from exprbench.faces.search import tiles

# Side of the square crop over the side of the face; the next one is tried if the face is not found.
CROPS = (2.0, 1.6, 2.5, 3.2)
# Detections below this score, down to the detector's own threshold of 0.5, are mostly not faces. They must reach it in
# one of the confirmation crops around them, as faces cut by the border of a tile do.
CONFIRMED_SCORE = 0.7
CONFIRMATION_CROPS = (1.6, 2.0)
MIN_EXPECTED_SCORE = 0.3  # detector threshold where a face is expected; the landmark network checks it again
MAX_FACES_PER_CROP = 4
# MediaPipe's coordinates count pixels from the centre of the first one (measured: 0.51 to 0.58 pixels less than from
# its edge, at every size of the input). Without this, landmarks in [0, 1] would depend on the resolution.
PIXEL_CENTRE = 0.5

Crop = tuple[np.ndarray, tuple[int, int]]  # part of a frame, and its upper left corner in the frame


@dataclass(frozen=True)
class Face:
    """One face in one frame: `points` (478, 3) in pixels of the full frame, `pose` (4, 4) in the camera of its crop.

    The frame's upper left corner is (0, 0) and the centre of its first pixel (0.5, 0.5).
    """

    points: np.ndarray
    blendshapes: np.ndarray
    pose: np.ndarray

    @cached_property
    def box(self) -> Box:
        """Return the bounding box of the landmarks, in pixels."""
        low, high = self.points[:, :2].min(0), self.points[:, :2].max(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @cached_property
    def centre(self) -> np.ndarray:
        """Return the centre (2,) of the box, in pixels."""
        x0, y0, x1, y1 = self.box
        return np.array([(x0 + x1) / 2, (y0 + y1) / 2])

    @cached_property
    def side(self) -> float:
        """Return the longer side of the box, in pixels."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, y1 - y0)


class Landmarker:
    """Face detector for frames and face landmarker for crops. Frames are (H, W, 3) uint8 RGB."""

    follows_regions = False  # whether `follow` can find faces

    def __init__(self, model: Path) -> None:
        from mediapipe.tasks.python import BaseOptions, vision

        with zipfile.ZipFile(model) as task:
            detector = task.read("face_detector.tflite")
        with _quiet():
            self._detector = vision.FaceDetector.create_from_options(
                vision.FaceDetectorOptions(base_options=BaseOptions(model_asset_buffer=detector))
            )
            self._landmarker = vision.FaceLandmarker.create_from_options(
                vision.FaceLandmarkerOptions(
                    base_options=BaseOptions(model_asset_path=str(model)),
                    num_faces=MAX_FACES_PER_CROP,
                    min_face_detection_confidence=MIN_EXPECTED_SCORE,
                    output_face_blendshapes=True,
                    output_facial_transformation_matrixes=True,
                )
            )
            for task in (self._detector, self._landmarker):
                task.detect(_image(np.zeros((64, 64, 3), np.uint8)))
                _never_close(task)

    def search(self, frame: np.ndarray) -> list[Box]:
        """Return boxes of faces anywhere in the frame, of all sizes, by descending score."""
        height, width = frame.shape[:2]
        crops = [(frame[y0:y1, x0:x1], (x0, y0)) for x0, y0, x1, y1 in tiles(width, height)]
        kept = non_maximum_suppression(self._detect(crops))
        return [box for score, box in kept if score >= CONFIRMED_SCORE or self._is_confirmed(frame, box)]

    def _detect(self, crops: Sequence[Crop]) -> list[tuple[float, Box]]:
        """Return (score, box in the frame) of the faces in crops."""
        scored_boxes = []
        for crop, origin in crops:
            for detection in self._detector.detect(_image(crop)).detections:
                box = detection.bounding_box
                left, top = origin[0] + box.origin_x, origin[1] + box.origin_y
                scored_boxes.append((detection.categories[0].score, (left, top, left + box.width, top + box.height)))
        return scored_boxes

    def _is_confirmed(self, frame: np.ndarray, box: Box) -> bool:
        for size in CONFIRMATION_CROPS:
            crop, origin = square(frame, *_box_square(box, size))
            detections = self._detect([(crop, origin)]) if crop is not None else []
            if any(score >= CONFIRMED_SCORE and overlap(other, box) > 0.5 for score, other in detections):
                return True
        return False

    def detect(self, frame: np.ndarray, centre: np.ndarray, side: float) -> list[Face]:
        """Return the faces in the square of `side` pixels around `centre`; beyond the frame its border is repeated."""
        crop, origin = square(frame, centre, side)
        if crop is None:
            return []
        result = self._landmarker.detect(_image(crop))
        parts = zip(result.face_landmarks, result.face_blendshapes, result.facial_transformation_matrixes, strict=True)
        return [_face(*part, origin, len(crop)) for part in parts]

    def follow(self, expected: Sequence[tuple[np.ndarray, Face]]) -> list[Face | None]:
        """Return the face in each frame where another frame shows it; MediaPipe's IMAGE mode cannot: all are None.

        Args:
            expected: (frame, face in another frame) pairs.
        """
        return [None] * len(expected)

    def read_blendshapes(self, faces: Sequence[Face]) -> None:
        """Compute the blendshapes of faces in one batch; MediaPipe's have them already."""


def _box_square(box: Box, size: float) -> tuple[np.ndarray, float]:
    """Return the centre and side, in pixels, of the square with `size` times the longer side of a box."""
    x0, y0, x1, y1 = box
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2]), size * max(x1 - x0, y1 - y0)


def _face(landmarks: list[Any], blendshapes: list[Any], pose: np.ndarray, origin: tuple[int, int], side: int) -> Face:
    points = np.array([(p.x, p.y, p.z) for p in landmarks]) * side
    points[:, :2] += np.array(origin) + PIXEL_CENTRE
    return Face(points, np.array([b.score for b in blendshapes]), np.array(pose))


def square(frame: np.ndarray, centre: np.ndarray, side: float) -> tuple[np.ndarray | None, tuple[int, int]]:
    """Return a square crop of whole pixels and its upper left corner; None if it is outside the frame."""
    height, width = frame.shape[:2]
    size = max(32, round(side))
    x0, y0 = (round(float(c) - size / 2) for c in centre)
    if size > 4 * max(height, width) or x0 >= width or y0 >= height or x0 + size <= 0 or y0 + size <= 0:
        return None, (0, 0)
    left, top, right, bottom = max(0, -x0), max(0, -y0), max(0, x0 + size - width), max(0, y0 + size - height)
    part = frame[max(0, y0) : y0 + size, max(0, x0) : x0 + size]
    if left or top or right or bottom:
        part = cv2.copyMakeBorder(part, top, bottom, left, right, cv2.BORDER_REPLICATE)
    return part, (x0, y0)


def _image(pixels: np.ndarray) -> Any:
    from mediapipe import Image, ImageFormat

    return Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(pixels))


@contextmanager
def _quiet() -> Iterator[None]:
    """Discard standard error, to which MediaPipe's C++ code writes messages when it starts."""
    stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)


def _never_close(task: Any) -> None:
    """Keep a MediaPipe task alive until the process ends; closing it during interpreter shutdown raises and prints."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))
