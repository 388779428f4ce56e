"""Features of FVD by VideoMAE V2 (Wang et al. 2023), as in content-debiased FVD (Ge et al. 2024).

The network is the ViT-giant tuned on Something-Something V2; the features are the 1408 numbers before its classifier.
Frames are resized to 224 x 224 (bilinear, whatever the aspect ratio) and scaled to [0, 1], without normalisation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exprbench import weights
from exprbench.core.exact import exact
from exprbench.metrics.fvd import fitted
from exprbench.metrics.metric import ClipStream
from exprbench.metrics.networks import as_tensor, fill, load_state

if TYPE_CHECKING:
    import torch

SIDE = 224
KEY = "module"  # of the tensors in the published file
NORM_EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class VideoMAEShape:
    """Dimensions of the network; the defaults are those of the published one."""

    width: int = 1408
    depth: int = 40
    num_heads: int = 16
    mlp_width: int = 6144
    patch: int = 14
    tubelet: int = 2
    num_frames: int = 16
    num_classes: int = 174

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens of a clip."""
        return self.num_frames // self.tubelet * (SIDE // self.patch) ** 2


class VideoMAEFeatures:
    """`ClipExtractor` with VideoMAE V2.

    Args:
        path: file of the weights.
        device: device of the network.
        batch: clips per batch.
        shape: dimensions of the network in the file.

    Raises:
        WeightsError: `weights_differ`, if the file is of another network.
    """

    id = "videomae2-g-ssv2"
    fit = "squash224"

    def __init__(self, path: Path, *, device: str = "cpu", batch: int = 1, shape: VideoMAEShape | None = None) -> None:
        shape = shape or VideoMAEShape()
        self.num_features = shape.width
        self.batch = batch
        self.device = device
        self.network = fill(build(shape), load_state(path, KEY), path).to(device)

    def prepare(self, frame: np.ndarray) -> "torch.Tensor":
        """Return a frame as (3, 224, 224) float32 on the device, in [0, 1]."""
        with exact():
            return fitted(as_tensor(frame, self.device), self.fit)[0].div_(255)

    def features(self, prepared: Sequence[Sequence["torch.Tensor"]]) -> np.ndarray:
        """Return the features (n, width) float32 of n clips."""
        import torch

        clips = torch.stack([torch.stack(list(clip), dim=1) for clip in prepared])
        with exact():
            return self.network(clips).float().cpu().numpy()


def load(stream: ClipStream, device: str) -> VideoMAEFeatures:
    """Return the published network; its clips have 16 frames."""
    del stream
    return VideoMAEFeatures(weights.require("videomae"), device=device)


def build(shape: VideoMAEShape) -> "torch.nn.Module":
    """Return the network with random weights and the names of the published file."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
            self.q_bias, self.v_bias = (nn.Parameter(torch.zeros(shape.width)) for _ in range(2))
            self.proj = nn.Linear(shape.width, shape.width)

        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])  # keys have none
            q, k, v = (self.qkv(x) + bias).unflatten(-1, (3, shape.num_heads, -1)).permute(2, 0, 3, 1, 4)
            return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = (nn.LayerNorm(shape.width, eps=NORM_EPSILON) for _ in range(2))
            self.attn = Attention()
            self.mlp = nn.ModuleDict(
                {"fc1": nn.Linear(shape.width, shape.mlp_width), "fc2": nn.Linear(shape.mlp_width, shape.width)}
            )

        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            x = x + self.attn(self.norm1(x))
            return x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))

    class VideoMAE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            size = (shape.tubelet, shape.patch, shape.patch)
            self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, shape.width, size, stride=size)})
            self.blocks = nn.ModuleList(Block() for _ in range(shape.depth))
            self.fc_norm = nn.LayerNorm(shape.width, eps=NORM_EPSILON)
            self.head = nn.Linear(shape.width, shape.num_classes)  # in the file; its outputs are not the features
            positions = torch.from_numpy(sinusoids(shape.num_tokens, shape.width)).float()
            self.register_buffer("positions", positions, persistent=False)

        def forward(self, clips: "torch.Tensor") -> "torch.Tensor":
            x = self.patch_embed["proj"](clips).flatten(2).transpose(1, 2) + self.positions
            for block in self.blocks:
                x = block(x)
            return self.fc_norm(x.mean(1))

    return VideoMAE()


def sinusoids(num_tokens: int, width: int) -> np.ndarray:
    """Return the position encoding (num_tokens, width): sines in even columns, cosines in odd ones."""
    rates = 10000.0 ** (-2 * (np.arange(width) // 2) / width)
    angles = np.arange(num_tokens)[:, None] * rates
    return np.where(np.arange(width) % 2, np.cos(angles), np.sin(angles))
