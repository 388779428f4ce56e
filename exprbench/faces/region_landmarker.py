"""MediaPipe's face detector and landmarker with its networks in another engine: the same results in less time."""

import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from exprbench.faces.boxes import Box
from exprbench.faces.canonical_pose import head_poses, read_canonical_face
from exprbench.faces.detections import decode, weighted_suppression
from exprbench.faces.face_networks import BLENDSHAPE_POINTS, DETECTOR_SIDE, LANDMARK_SIDE, FaceNetworks, Run
from exprbench.faces.landmarker import (
    CROPS,
    MAX_FACES_PER_CROP,
    MIN_EXPECTED_SCORE,
    PIXEL_CENTRE,
    Crop,
    Face,
    Landmarker,
    square,
)
from exprbench.faces.regions import Region, cut, detection_region, landmark_region, letterbox, project

GEOMETRY = "geometry_pipeline_metadata_landmarks.binarypb"
# Thresholds that MediaPipe's two tasks have by default.
MIN_SEARCH_SCORE, SEARCH_SUPPRESSION = 0.5, 0.3
SUPPRESSION, MIN_PRESENCE = 0.5, 0.5


class RegionLandmarker(Landmarker):
    """Face detector for frames and face landmarker for crops. Frames are (H, W, 3) uint8 RGB.

    Args:
        model: path of `face_landmarker.task`.
        run: function of an engine that runs a network on a batch.
    """

    follows_regions = True

    def __init__(self, model: Path, run: Run) -> None:
        self.networks = FaceNetworks(run)
        with zipfile.ZipFile(model) as task:
            self._canonical = read_canonical_face(task.read(GEOMETRY))

    def _detect(self, crops: Sequence[Crop]) -> list[tuple[float, Box]]:
        scored_boxes = []
        found = self._detections([crop for crop, _ in crops], MIN_SEARCH_SCORE, SEARCH_SUPPRESSION)
        for (_, origin), detections in zip(crops, found, strict=True):
            for score, detection in detections:
                x0, y0, x1, y1 = detection[:4]
                left, top, width, height = (int(v) for v in (x0, y0, x1 - x0, y1 - y0))  # truncated, as by MediaPipe
                left, top = left + origin[0], top + origin[1]
                scored_boxes.append((score, (left, top, left + width, top + height)))
        return scored_boxes

    def _detections(
        self, crops: Sequence[np.ndarray], min_score: float, threshold: float
    ) -> list[list[tuple[float, np.ndarray]]]:
        """Return (score, detection) of the faces in each crop; detections (16,) are in pixels of the crop."""
        regions = [letterbox(crop) for crop in crops]
        pairs = zip(crops, regions, strict=True)
        pictures = [cut(crop, region, DETECTOR_SIDE, cv2.BORDER_CONSTANT) for crop, region in pairs]
        return [
            [
                (score, project(detection.reshape(8, 2), region).ravel())
                for score, detection in weighted_suppression(*decode(*outputs, min_score), threshold)
            ]
            for region, *outputs in zip(regions, *self.networks.detect(np.stack(pictures)), strict=True)
        ]

    def detect(self, frame: np.ndarray, centre: np.ndarray, side: float) -> list[Face]:
        """Return the faces in the square of `side` pixels around `centre`; beyond the frame its border is repeated."""
        crop, origin = square(frame, centre, side)
        if crop is None:
            return []
        (detections,) = self._detections([crop], MIN_EXPECTED_SCORE, SUPPRESSION)
        regions = [detection_region(detection) for _, detection in detections[:MAX_FACES_PER_CROP]]
        return [face for face in self._faces([(crop, origin)] * len(regions), regions) if face]

    def follow(self, expected: Sequence[tuple[np.ndarray, Face]]) -> list[Face | None]:
        """Return the face in each frame where another frame shows it, None where there is none; see `Landmarker`.

        As in MediaPipe's VIDEO mode, the region comes from the landmarks in the other frame, without the detector.
        The pose is in the camera of a crop around the face, as in `detect`.
        """
        crops = [square(frame, face.centre, CROPS[0] * face.side) for frame, face in expected]
        visible = [i for i, (crop, _) in enumerate(crops) if crop is not None]
        regions = [landmark_region(expected[i][1].points - _offset(crops[i][1])) for i in visible]
        found = dict(zip(visible, self._faces([crops[i] for i in visible], regions), strict=True))
        return [found.get(i) for i in range(len(expected))]

    def read_blendshapes(self, faces: Sequence[Face]) -> None:
        """Compute the blendshapes of faces in one batch."""
        unread = [face for face in faces if isinstance(face, FaceOnDemand) and "blendshapes" not in vars(face)]
        if unread:
            values = self.networks.blendshapes(np.stack([face.subset for face in unread]))
            for face, blendshapes in zip(unread, values, strict=True):
                vars(face)["blendshapes"] = blendshapes

    def _faces(self, crops: Sequence[Crop], regions: Sequence[Region]) -> list[Face | None]:
        """Return the face in each region of a crop, in one batch; None where the landmark network finds none."""
        if not regions:
            return []
        pairs = list(zip(crops, regions, strict=True))
        pictures = [cut(crop, region, LANDMARK_SIDE, cv2.BORDER_REPLICATE) for (crop, _), region in pairs]
        landmarks, presences = self.networks.landmarks(np.stack(pictures))
        points = np.stack([project(p, region) for p, region in zip(landmarks, regions, strict=True)])
        sides = np.array([len(crop) for crop, _ in crops])[:, None, None]
        poses = head_poses(points / sides, self._canonical)
        return [
            self._face(p, pose, origin) if presence > MIN_PRESENCE else None
            for p, pose, presence, (_, origin) in zip(points, poses, presences, crops, strict=True)
        ]

    def _face(self, points: np.ndarray, pose: np.ndarray, origin: tuple[int, int]) -> Face:
        return FaceOnDemand(points + _offset(origin), pose, points[list(BLENDSHAPE_POINTS), :2], self.networks)


class FaceOnDemand(Face):
    """Face whose blendshapes are computed when they are first read: the tracker discards some faces without them."""

    def __init__(self, points: np.ndarray, pose: np.ndarray, subset: np.ndarray, networks: FaceNetworks) -> None:
        vars(self).update(points=points, pose=pose, subset=subset, networks=networks)

    @cached_property
    def blendshapes(self) -> np.ndarray:  # type: ignore[override]
        """Return the blendshapes (52,)."""
        return self.networks.blendshapes(self.subset[None])[0]


def _offset(origin: tuple[int, int]) -> np.ndarray:
    """Return the difference of a point in the frame to the same point in MediaPipe's coordinates of a crop."""
    return np.array([origin[0] + PIXEL_CENTRE, origin[1] + PIXEL_CENTRE, 0])
