"""FVD (Unterthiner et al. 2019): the Fréchet distance between features of clips by I3D, trained on Kinetics-400.

The network is the torchscript conversion published by the authors of StyleGAN-V; its features are the 400 logits before
the softmax, averaged over time. Its input is 224 x 224, in [-1, 1]. `exprbench.metrics.clip_grid` defines the frames of
a clip and their resize.
"""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exprbench import weights
from exprbench.core.exact import exact
from exprbench.metrics.clip_grid import DEFAULT_GRID
from exprbench.metrics.metric import ClipStream
from exprbench.metrics.networks import as_tensor
from exprbench.weights import WeightsError

if TYPE_CHECKING:
    import torch

SIDE = 224
CDFVD_SIDE = 256
NUM_FEATURES = 400


class I3DFeatures:
    """`ClipExtractor` with the torchscript I3D.

    Args:
        path: the torchscript file.
        device: device of the network.
        fit: resize of the frames; see `ClipGrid.fit`.
        batch: clips per batch.

    Raises:
        WeightsError: `weights_differ`, if the file is not torchscript or does not return 400 features.
    """

    id = "i3d-k400"
    num_features = NUM_FEATURES

    def __init__(self, path: Path, *, device: str = "cpu", fit: str = DEFAULT_GRID.fit, batch: int = 4) -> None:
        self.batch = batch
        self.device = device
        self.fit = fit
        self.path = path
        self.network = _load(path, device)

    def prepare(self, frame: np.ndarray) -> "torch.Tensor":
        """Return a frame as (3, 224, 224) float32 on the device, in [-1, 1]."""
        with exact():
            return fitted(as_tensor(frame, self.device), self.fit)[0].mul_(2 / 255).sub_(1)

    def features(self, prepared: Sequence[Sequence["torch.Tensor"]]) -> np.ndarray:
        """Return (n, 400) float32 features of n clips of equal length."""
        import torch

        clips = torch.stack([torch.stack(list(clip), dim=1) for clip in prepared])
        with exact():  # frames are resized and scaled already
            logits = self.network(x=clips, rescale=False, resize=False, return_features=True)
        if logits.shape != (len(prepared), NUM_FEATURES):
            raise WeightsError("weights_differ", f"{self.path} gives features of shape {tuple(logits.shape)}, not 400")
        return logits.float().cpu().numpy()


def load(stream: ClipStream, device: str) -> I3DFeatures:
    """Return the published network with the frame size of a stream's clips."""
    return I3DFeatures(weights.require("i3d"), device=device, fit=stream.grid.fit)


def _load(path: Path, device: str) -> Any:
    import torch

    try:
        with warnings.catch_warnings():  # the network is published only as torchscript, which is deprecated
            warnings.simplefilter("ignore", FutureWarning)
            return torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise WeightsError("weights_differ", f"{path} is no torchscript: {str(error).splitlines()[0]}") from error


def fitted(image: "torch.Tensor", fit: str) -> "torch.Tensor":
    """Return an image (1, 3, H, W) in [0, 255] as (1, 3, 224, 224), fitted as `ClipGrid.fit` says."""
    from torch.nn.functional import interpolate

    if fit == "crop224":
        height, width = image.shape[-2:]
        short = min(height, width)
        size = [SIDE if length == short else math.ceil(length * SIDE / short) for length in (height, width)]
        return _centre(interpolate(image, size=size, mode="bilinear", align_corners=False), SIDE).clone()
    if fit == "aa-crop256-byte-224":
        image = _cdfvd_bytes(image)
    return interpolate(image, size=(SIDE, SIDE), mode="bilinear", align_corners=False)


def _cdfvd_bytes(image: "torch.Tensor") -> "torch.Tensor":
    """Return an image as cd-fvd 0.1.1 loads it, (1, 3, 256, 256) of whole numbers.

    The order of operations is that of cd-fvd, because truncation turns rounding errors into whole steps.
    """
    from torch.nn.functional import interpolate

    height, width = image.shape[-2:]
    scale = CDFVD_SIDE / min(height, width)
    size = (CDFVD_SIDE, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), CDFVD_SIDE)
    resized = interpolate(image / 255, size=size, mode="bilinear", align_corners=False, antialias=True)
    return (_centre(resized, CDFVD_SIDE) * 255).byte().float()


def _centre(image: "torch.Tensor", side: int) -> "torch.Tensor":
    """Return the square in the middle of an image (1, 3, H, W)."""
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return image[..., top : top + side, left : left + side]
