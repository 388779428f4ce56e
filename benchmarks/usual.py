"""Alternatives to exprbench for the paired and face metrics of two videos: typical scripts, and a lower bound.

The typical scripts run in one process; for every metric they decode both videos with OpenCV. PSNR and SSIM are those of
scikit-image; every face metric takes one MediaPipe pass over each video, on whole frames, with the outputs it needs.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from exprbench import weights

SSIM = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "channel_axis": -1}
EYES = ((33, 133, 468), (263, 362, 473))


def decoded(path: Path) -> Iterator[np.ndarray]:
    """Yield (H, W, 3) uint8 RGB frames, decoded by OpenCV."""
    video = cv2.VideoCapture(str(path))
    while (result := video.read())[0]:
        yield cv2.cvtColor(result[1], cv2.COLOR_BGR2RGB)


@lru_cache(maxsize=4)
def landmarker(blendshapes: bool, poses: bool) -> Any:
    """Return MediaPipe's landmarker with default settings, created once, outside of the timed part."""
    from mediapipe.tasks.python import BaseOptions, vision

    return vision.FaceLandmarker.create_from_options(
        vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(weights.require("face_landmarker"))),
            output_face_blendshapes=blendshapes,
            output_facial_transformation_matrixes=poses,
        )
    )


def detect(frame: np.ndarray, blendshapes: bool = False, poses: bool = False) -> Any:
    """Return MediaPipe's result on a whole frame."""
    from mediapipe import Image, ImageFormat

    return landmarker(blendshapes, poses).detect(Image(image_format=ImageFormat.SRGB, data=frame))


def _points(frame: np.ndarray) -> np.ndarray:
    faces = detect(frame).face_landmarks
    return np.array([(p.x, p.y) for p in faces[0]]) if faces else np.full((478, 2), np.nan)


def _gaze(frame: np.ndarray) -> np.ndarray:
    points = _points(frame)
    parts = [(points[i] - (points[a] + points[b]) / 2, np.linalg.norm(points[a] - points[b])) for a, b, i in EYES]
    return np.array([np.arcsin(np.clip(offset / (0.34 * width), -1, 1)) for offset, width in parts])


def _expression(frame: np.ndarray) -> np.ndarray:
    faces = detect(frame, blendshapes=True).face_blendshapes
    return np.array([b.score for b in faces[0]]) if faces else np.full(52, np.nan)


def _pose(frame: np.ndarray) -> np.ndarray:
    matrices = detect(frame, poses=True).facial_transformation_matrixes
    return cv2.Rodrigues(matrices[0][:3, :3])[0] if matrices else np.full((3, 1), np.nan)


FACES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "lmd": _points,
    "mae": _gaze,
    "aed": _expression,
    "apd": _pose,
}


def score_by_scripts(reference: Path, predicted: Path) -> dict[str, float]:
    """Return the metrics, computed one after the other."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    def over(metric: Callable[..., float], **options: Any) -> float:
        return float(np.mean([metric(r, p, **options) for r, p in zip(decoded(reference), decoded(predicted))]))  # noqa: B905

    values = {"psnr": over(peak_signal_noise_ratio, data_range=255), "ssim": over(structural_similarity, **SSIM)}
    for name, read in FACES.items():
        sides = [np.stack([read(frame) for frame in decoded(path)]) for path in (reference, predicted)]
        values[name] = float(np.nanmean(np.abs(sides[0] - sides[1])))
    return values


def lower_bound(reference: Path, predicted: Path) -> tuple[float, int]:
    """Do the minimum work: decode both files once, run the landmarker once per frame, and SSIM with four filters.

    It does not search for faces, identify people or handle damaged files. Returns the SSIM and the number of faces.
    """
    from exprbench.metrics.psnr import squared_error
    from exprbench.metrics.ssim import ssim

    similarities, num_faces = [], 0
    for r, p in zip(decoded(reference), decoded(predicted), strict=True):
        squared_error(r, p)
        similarities.append(ssim(r, p))
        num_faces += sum(len(detect(frame, blendshapes=True, poses=True).face_landmarks) for frame in (r, p))
    return float(np.mean(similarities)), num_faces
