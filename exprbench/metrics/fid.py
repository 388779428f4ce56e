"""FID (Heusel et al. 2017): the Fréchet distance between pool3 features of frames by the TF-2015 Inception.

The resize to 299 x 299 is part of the metric (Parmar et al. 2022). `clean299` is that of clean-fid: Pillow's bicubic
filter with antialiasing on each channel as floats, clipped, not rounded; then (x - 128) / 128. `pytorch299` is that of
pytorch-fid: bilinear without antialiasing on x / 255, then 2 x - 1. Both ignore the aspect ratio.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

import numpy as np

from exprbench import weights
from exprbench.core.exact import exact
from exprbench.metrics.metric import FrameStream
from exprbench.metrics.networks import as_tensor, load_state
from exprbench.weights import WeightsError

if TYPE_CHECKING:
    import torch

SIDE = 299
NUM_FEATURES = 2048
BICUBIC_SUPPORT = 2.0
BICUBIC_A = -0.5

Resize = Literal["clean299", "pytorch299"]


class InceptionFeatures:
    """`FrameExtractor` with pytorch-fid's Inception.

    Args:
        path: file of the weights.
        device: device of the network.
        resize: `clean299` or `pytorch299`.
        batch: frames per batch.

    Raises:
        WeightsError: `weights_differ`, if the file is of another network.
    """

    num_features = NUM_FEATURES

    def __init__(self, path: Path, *, device: str = "cpu", resize: Resize = "clean299", batch: int = 16) -> None:
        import torch

        self.id = f"inception2015,{resize},pool3"
        self.batch = batch
        self.device = device
        self.resize = resize
        # takes a quarter less time on a CPU; not faster on a GPU in float32
        self.order = torch.channels_last if device == "cpu" else torch.contiguous_format
        self.network = _inception(path).to(device, memory_format=self.order)

    def prepare(self, frame: np.ndarray) -> "torch.Tensor":
        """Return a frame as (3, 299, 299) float32 on the device, in the network's range."""
        with exact():
            if self.resize == "pytorch299":
                return _pytorch(frame, self.device)
            return _clean(frame, self.device).sub_(128).div_(128)

    def features(self, prepared: Sequence["torch.Tensor"]) -> np.ndarray:
        """Return (n, 2048) float32 features."""
        import torch

        with exact():
            (pooled,) = self.network(torch.stack(list(prepared)).contiguous(memory_format=self.order))
        return pooled.flatten(1).cpu().numpy()


def load(stream: FrameStream, device: str) -> InceptionFeatures:
    """Return the published network with the resize of a stream."""
    return InceptionFeatures(weights.require("inception"), device=device, resize=stream.resize)  # type: ignore[arg-type]


def _inception(path: Path) -> Any:
    """Return pytorch-fid's network with the weights of a file; its own loader would download them."""
    from pytorch_fid import inception

    state = load_state(path)
    with mock.patch.object(inception, "load_state_dict_from_url", return_value=state):
        try:
            network = inception.InceptionV3(resize_input=False, normalize_input=False)
        except RuntimeError as error:
            first_lines = "; ".join(line.strip() for line in str(error).splitlines()[1:3])[:300]
            raise WeightsError("weights_differ", f"{path} is of another network; {first_lines}") from error
    return network.eval()


def clean299(frame: np.ndarray) -> np.ndarray:
    """Return an (H, W, 3) uint8 frame as (3, 299, 299) float32 in [0, 255], resized by Pillow."""
    from PIL import Image

    channels = [Image.fromarray(frame[..., c].astype(np.float32)) for c in range(3)]
    return np.stack([np.asarray(c.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for c in channels]).clip(0, 255)


def _clean(frame: np.ndarray, device: str) -> "torch.Tensor":
    """Return `clean299` on a device: by Pillow on a CPU, otherwise as products with the filter's matrices."""
    import torch

    if device == "cpu":
        return torch.from_numpy(clean299(frame))
    return by_matrices(frame, device)


def by_matrices(frame: np.ndarray, device: str) -> "torch.Tensor":
    """Return `clean299` without Pillow; it differs in the rounding of single precision."""
    height, width = frame.shape[:2]
    across, down = (_matrix_on(length, device) for length in (width, height))
    return (down @ (as_tensor(frame, device)[0] @ across.T)).clamp_(0, 255)


@lru_cache(maxsize=8)
def _matrix_on(length: int, device: str) -> "torch.Tensor":
    import torch

    return torch.from_numpy(bicubic_matrix(length, SIDE).astype(np.float32)).to(device)


def bicubic_matrix(length: int, out: int) -> np.ndarray:
    """Return the weights (out, length) of Pillow's bicubic filter with antialiasing; rows sum to 1."""
    scale = length / out
    stretch = max(scale, 1.0)
    centres = (np.arange(out) + 0.5) * scale
    first = np.maximum(np.floor(centres - BICUBIC_SUPPORT * stretch + 0.5), 0)
    last = np.minimum(np.floor(centres + BICUBIC_SUPPORT * stretch + 0.5), length)
    positions = np.arange(length)
    weights = _bicubic((positions + 0.5 - centres[:, None]) / stretch)
    weights[(positions < first[:, None]) | (positions >= last[:, None])] = 0
    return weights / weights.sum(1, keepdims=True)


def _bicubic(x: np.ndarray) -> np.ndarray:
    x, a = np.abs(x), BICUBIC_A
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _pytorch(frame: np.ndarray, device: str) -> "torch.Tensor":
    from torch.nn.functional import interpolate

    image = as_tensor(frame, device).div_(255)
    return interpolate(image, size=(SIDE, SIDE), mode="bilinear", align_corners=False)[0].mul_(2).sub_(1)
