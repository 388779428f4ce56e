"""What motion explains of the difference between two small gray pictures, by dense optical flow."""

from collections.abc import Sequence

import cv2
import numpy as np

LONG_SIDE = 128  # of the pictures, in pixels; that of wide ones is longer, so that the short side has `MIN_SIDE`
SMOOTHING = 0.7  # width in pixels of the blur that removes noise
MIN_SIDE = 32  # of pictures between which flow is computed: with smaller ones OpenCV crashes
MAX_GAIN = 2.0  # factor by which the contrast changes with the exposure


def small_pictures(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return small gray pictures (H, W) uint8 of frames (H, W, 3)."""
    short, long = sorted(frames[0].shape[:2])
    scale = min(1.0, max(LONG_SIDE / long, MIN_SIDE / short))
    size = [max(1, round(side * scale)) for side in frames[0].shape[1::-1]]
    grays = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames)
    return [cv2.GaussianBlur(cv2.resize(g, size, interpolation=cv2.INTER_AREA), (3, 3), SMOOTHING) for g in grays]


def moved(picture: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return a picture (H, W) moved to where its content is in the target, (H, W) float32."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(target, picture, None)
    height, width = picture.shape
    flow += np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    return cv2.remap(picture, flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


def unexplained(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the differences of two pictures, beyond a gain and an offset if these bring most pixels closer, (H, W).

    A change of exposure is the same for all pixels; what one person or object changes leaves the others as they are.
    """
    plain = cv2.absdiff(target.astype(np.float32), prediction.astype(np.float32))
    target, prediction = target - target.mean(dtype=np.float32), prediction - prediction.mean(dtype=np.float32)
    gain = float((target * prediction).mean() / max(float((prediction**2).mean()), 1e-6))
    exposed = np.abs(target - np.clip(gain, 1 / MAX_GAIN, MAX_GAIN) * prediction)
    return min(plain, exposed, key=lambda rest: float(np.median(rest[::2, ::2])))
