"""Expression and head pose by SMIRK's encoder (Retsinas et al. 2024): three MobileNetV3 that predict FLAME parameters.

The parameters are used without a FLAME model. The input is in [0, 1], without ImageNet's normalisation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exprbench import weights
from exprbench.core.exact import exact
from exprbench.metrics.networks import fill, load_state

if TYPE_CHECKING:
    import torch

SIDE = 224
CROP_SCALE = 1.4
PREFIX = "smirk_encoder."  # the file also contains a generator
NUM_EXPRESSION, NUM_EYELID, NUM_JAW = 50, 2, 3
NUM_SHAPE = 300
MAX_JAW_YAW_ROLL = 0.2  # radians
# encoder -> (timm's name, name of the linear layer, its outputs)
ENCODERS = {
    "pose_encoder": ("tf_mobilenetv3_small_minimal_100", "pose_cam_layers", 6),
    "shape_encoder": ("tf_mobilenetv3_large_minimal_100", "shape_layers", NUM_SHAPE),
    "expression_encoder": (
        "tf_mobilenetv3_large_minimal_100",
        "expression_layers",
        NUM_EXPRESSION + NUM_EYELID + NUM_JAW,
    ),
}


@dataclass(frozen=True)
class Parameters:
    """Parameters of n faces: `expression` (n, 55) of face (50), eyelids (2) and jaw (3); `pose` (n, 3) axis-angle."""

    expression: np.ndarray
    pose: np.ndarray


def crop(frame: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Return a (224, 224, 3) uint8 crop: a square with 1.4 times the mean side of the box of landmarks (K, 2 or 3).

    It is black beyond the frame. The corners of the square are the centres of the crop's corner pixels. Interpolation
    is bilinear without antialiasing, rounded down. Points are in pixels from the frame's upper left corner.
    """
    low, high = points_px[:, :2].min(0), points_px[:, :2].max(0)
    size = max(1, int((high - low).sum() / 2 * CROP_SCALE))
    positions = np.arange(SIDE) * (size / (SIDE - 1))
    left, top = (low + high) / 2 - size / 2 - 0.5  # from the centre of the first pixel
    x0, x1 = np.clip([int(np.floor(left)), int(np.ceil(left)) + size + 1], 0, frame.shape[1])
    rows = _interpolate(frame[:, x0:x1].astype(np.float64), positions + top)
    return _interpolate(rows.swapaxes(0, 1), positions + left - x0).swapaxes(0, 1).astype(np.uint8)


def _interpolate(image: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return an image at fractional positions along its first axis, by linear interpolation; black outside."""
    first = np.floor(positions).astype(int)
    weight = (positions - first)[:, None, None]
    black = np.zeros((1, *image.shape[1:]))
    padded = np.concatenate([image, black])
    low, high = (np.where((i >= 0) & (i < len(image)), i, len(image)) for i in (first, first + 1))
    return padded[low] * (1 - weight) + padded[high] * weight


class ExpressionNetwork:
    """SMIRK's encoder: FLAME parameters of face crops.

    Args:
        path: file of the weights.
        device: device of the network.
        batch: crops per batch.

    Raises:
        WeightsError: `weights_differ`, if the file is of another network.
    """

    def __init__(self, path: Path, *, device: str = "cpu", batch: int = 32) -> None:
        state = {name.removeprefix(PREFIX): v for name, v in load_state(path).items() if name.startswith(PREFIX)}
        self.network = fill(_network(), state, path).to(device)
        self.device = device
        self.batch = batch

    def __call__(self, crops: Sequence[np.ndarray]) -> Parameters:
        """Return the parameters of n crops, float64."""
        parts = [self._read(crops[i : i + self.batch]) for i in range(0, len(crops), self.batch)]
        width = NUM_EXPRESSION + NUM_EYELID + NUM_JAW
        raw = np.concatenate(parts) if parts else np.zeros((0, 3 + width))
        return Parameters(expression=_bounded(raw[:, 3:]), pose=raw[:, :3])

    def _read(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return the outputs (n, 3 + 55) of the pose and the expression encoder."""
        import torch

        images = torch.from_numpy(np.stack(crops)).to(self.device).permute(0, 3, 1, 2).float() / 255
        with exact():
            pose = self.network["pose_encoder"](images)[:, :3]  # without the camera
            raw = torch.cat([pose, self.network["expression_encoder"](images)], dim=1)
        return raw.double().cpu().numpy()


def load(device: str) -> Callable[[Sequence[np.ndarray]], dict[str, np.ndarray]]:
    """Return the published network as a face reader: n crops to `expression` (n, 55) and `pose` (n, 3)."""
    network = ExpressionNetwork(weights.require("smirk"), device=device)

    def read(crops: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        parameters = network(crops)
        return {"expression": parameters.expression, "pose": parameters.pose}

    return read


def _bounded(expression: np.ndarray) -> np.ndarray:
    """Return the outputs (n, 55) clipped as in SMIRK: eyelids to [0, 1], the jaw to its range of motion."""
    bounded = expression.copy()
    eyelids = slice(NUM_EXPRESSION, NUM_EXPRESSION + NUM_EYELID)
    jaw = NUM_EXPRESSION + NUM_EYELID
    bounded[:, eyelids] = bounded[:, eyelids].clip(0, 1)
    bounded[:, jaw] = np.maximum(bounded[:, jaw], 0)
    bounded[:, jaw + 1 :] = bounded[:, jaw + 1 :].clip(-MAX_JAW_YAW_ROLL, MAX_JAW_YAW_ROLL)
    return bounded


def _network() -> Any:
    """Return the three encoders with the names of the file; the shape encoder is needed to check the whole file."""
    import torch

    return torch.nn.ModuleDict({name: _encoder(*parts) for name, parts in ENCODERS.items()})


def _encoder(backbone: str, layer: str, num_outputs: int) -> "torch.nn.Module":
    import timm
    import torch

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = timm.create_model(backbone, pretrained=False, features_only=True)
            channels = self.encoder.feature_info[-1]["num_chs"]
            self.add_module(layer, torch.nn.Sequential(torch.nn.Linear(channels, num_outputs)))

        def forward(self, images: "torch.Tensor") -> "torch.Tensor":
            return self.get_submodule(layer)(self.encoder(images)[-1].mean((2, 3)))

    return Encoder()
