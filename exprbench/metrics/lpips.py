"""LPIPS (Zhang et al. 2018) with AlexNet, version 0.1: distance between deep features of two frames.

The backbone is torchvision's AlexNet; the five linear heads are the published ones, which torchmetrics contains. Frames
are compared at the reference's size, without resizing to the network's, in [-1, 1].
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exprbench import weights
from exprbench.core.exact import exact
from exprbench.metrics.errors import MetricError
from exprbench.metrics.networks import as_tensor, fill, load_state

if TYPE_CHECKING:
    import torch

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the input in [-1, 1]
LAYERS = (1, 4, 7, 9, 11)  # ReLUs of AlexNet's `features` that are compared
MIN_SIDE = 63  # smallest frame that passes through all layers
EPSILON = 1e-8


class PerceptualDistance:
    """LPIPS of two frames.

    Args:
        path: file of AlexNet's weights.
        device: device of the network.

    Raises:
        WeightsError: `weights_differ`, if the file is of another network.
    """

    def __init__(self, path: Path, *, device: str = "cpu") -> None:
        import torch
        import torchvision

        network = torchvision.models.alexnet(weights=None)
        self.layers = fill(network, load_state(path), path).features.to(device)  # type: ignore[operator, union-attr]
        self.heads = [head.to(device) for head in published_heads()]
        self.shift, self.scale = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (SHIFT, SCALE))
        self.device = device

    def __call__(self, reference: np.ndarray, predicted: np.ndarray) -> float:
        """Return the distance of two (H, W, 3) uint8 frames of one size; 0 if they are equal.

        Raises:
            MetricError: `frame_too_small`.
        """
        import torch

        if min(reference.shape[:2]) < MIN_SIDE:
            raise MetricError("frame_too_small", f"a side of {min(reference.shape[:2])} pixels is below {MIN_SIDE}")
        with exact():
            images = torch.cat([as_tensor(frame, self.device) for frame in (reference, predicted)])
            maps = self._maps((images / 127.5 - 1 - self.shift) / self.scale)
            distances = [((a - b) ** 2 * head).sum(0).mean() for (a, b), head in zip(maps, self.heads, strict=True)]
        return float(torch.stack(distances).sum())

    def _maps(self, images: "torch.Tensor") -> list["torch.Tensor"]:
        """Return the maps (2, C, h, w) of the compared layers, of unit length over the channels."""
        maps = []
        for i, layer in enumerate(self.layers):
            images = layer(images.clone())  # ReLU works in place
            if i in LAYERS:
                maps.append(images / (EPSILON + (images**2).sum(1, keepdim=True)).sqrt())
        return maps


def published_heads() -> list["torch.Tensor"]:
    """Return the weights (C, 1, 1) of the five linear heads of version 0.1."""
    import torchmetrics.functional.image as installed

    state = load_state(Path(installed.__file__).parent / "lpips_models" / "alex.pth")
    return [state[f"lin{i}.model.1.weight"][0] for i in range(len(LAYERS))]


@lru_cache(maxsize=2)
def load(device: str) -> PerceptualDistance:
    """Return the published network, loaded once per process."""
    return PerceptualDistance(weights.require("alexnet"), device=device)


def distance(reference: np.ndarray, predicted: np.ndarray, device: str) -> float:
    """Return LPIPS of two (H, W, 3) uint8 frames by the published network."""
    return load(device)(reference, predicted)
