"""Gaze by L2CS-Net (Abdelrahman et al. 2023), trained on Gaze360: a ResNet-50 with two heads of 90 bins of 4 degrees.

The heads `fc_yaw_gaze` and `fc_pitch_gaze` of the file predict yaw and pitch: the first was trained on the first number
of the data set's labels, which is the yaw. The published pipeline assigns the first head's output to a variable called
pitch; code that follows its names swaps the angles. An image and its mirror image show the correct order: the sign of
the yaw changes, the pitch does not.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from exprbench import weights
from exprbench.core.exact import exact
from exprbench.core.normalization import IMAGENET_MEAN, IMAGENET_STD
from exprbench.metrics.networks import fill, load_state

if TYPE_CHECKING:
    import torch

SIDE = 224
INPUT_SIDE = 448
NUM_BINS, DEGREES_A_BIN, FIRST_BIN_DEG = 90, 4.0, -180.0
HEADS = ("fc_yaw_gaze", "fc_pitch_gaze")
UNUSED = "fc_finetune."  # layer in the file that the published network does not use


def crop(frame: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Return the bounding box of the landmarks (K, 2 or 3), within the frame, resized to (224, 224, 3) uint8.

    The published pipeline crops by RetinaFace's box, which also extends from the forehead to the chin, and truncates
    it; here it is rounded, because truncation shifts the crops of small videos more than those of large ones.
    """
    height, width = frame.shape[:2]
    limit = np.array([width, height])
    low = np.clip(np.rint(points_px[:, :2].min(0)).astype(int), 0, limit - 1)
    high = np.clip(np.rint(points_px[:, :2].max(0)).astype(int), low + 1, limit)
    return cv2.resize(frame[low[1] : high[1], low[0] : high[0]], (SIDE, SIDE))


class GazeNetwork:
    """L2CS-Net: gaze directions of face crops.

    Args:
        path: file of the weights.
        device: device of the network.
        batch: crops per batch.

    Raises:
        WeightsError: `weights_differ`, if the file is of another network.
    """

    def __init__(self, path: Path, *, device: str = "cpu", batch: int = 16) -> None:
        state = {name: value for name, value in load_state(path).items() if not name.startswith(UNUSED)}
        self.network = fill(_network(), state, path).to(device)
        self.device = device
        self.batch = batch

    def __call__(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return (n, 3) float64 unit gaze vectors of n crops: x right, y up, z towards the viewer."""
        parts = [self._angles(crops[i : i + self.batch]) for i in range(0, len(crops), self.batch)]
        angles = np.concatenate(parts) if parts else np.zeros((0, 2))
        return direction(angles[:, 0], angles[:, 1])

    def _angles(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return (n, 2) yaw and pitch in radians."""
        import torch

        images = torch.from_numpy(np.stack([_enlarged(c) for c in crops])).to(self.device)
        mean, std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        with exact():
            features = self.network((images.permute(0, 3, 1, 2).float() / 255 - mean) / std)
            heads = [getattr(self.network, name)(features) for name in HEADS]
        return np.stack([np.radians(expected_deg(h.double().cpu().numpy())) for h in heads], axis=1)


def load(device: str) -> Callable[[Sequence[np.ndarray]], dict[str, np.ndarray]]:
    """Return the published network as a face reader: n crops to `gaze` (n, 3)."""
    network = GazeNetwork(weights.require("l2cs"), device=device)
    return lambda crops: {"gaze": network(crops)}


def expected_deg(logits: np.ndarray) -> np.ndarray:
    """Return (n,) angles in degrees: the expectation over the bins from logits (n, 90)."""
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return (weights @ np.arange(NUM_BINS)) / weights.sum(1) * DEGREES_A_BIN + FIRST_BIN_DEG


def direction(yaw: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Return (..., 3) unit vectors, x right, y up, z towards the viewer, from Gaze360's angles in radians.

    Yaw increases to the left of the image, pitch upwards; both are 0 for a gaze into the lens.
    """
    return np.stack([-np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)], axis=-1)


def _enlarged(crop: np.ndarray) -> np.ndarray:
    """Return a crop as (448, 448, 3) uint8, by Pillow's bilinear filter, as torchvision's `Resize` of images."""
    from PIL import Image

    return np.asarray(Image.fromarray(crop).resize((INPUT_SIDE, INPUT_SIDE), Image.Resampling.BILINEAR))


def _network() -> "torch.nn.Module":
    """Return torchvision's ResNet-50 up to its pooled features, and the two heads with the names of the file."""
    import torch
    from torchvision.models import resnet50

    network = resnet50(weights=None)
    num_features = network.fc.in_features
    network.fc = torch.nn.Identity()
    for name in HEADS:
        setattr(network, name, torch.nn.Linear(num_features, NUM_BINS))
    return network
