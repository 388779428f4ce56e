"""PD-FGC expression encoder (Wang et al. 2023), the paper's E_e.

One stacked hourglass encodes an aligned face as a 512-d vector; four small heads predict head pose, eyes, emotion and
mouth from it. Layer names are those of the published weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CROP_SIZE = 224
HEAD_DIMS = {"headpose": 6, "eye": 6, "emo": 30, "mouth": 512}  # in the order of the feature
FEATURE_DIM = sum(HEAD_DIMS.values())
TRUNK_DIM = 512
DEPTH = 4


class ConvBlock(nn.Module):
    """Three pre-activated 3x3 convolutions whose outputs, 1/2, 1/4 and 1/4 of the channels, are concatenated."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        half, quarter = num_out // 2, num_out // 4
        self.bn1, self.conv1 = nn.BatchNorm2d(num_in), _conv3(num_in, half)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), _conv3(half, quarter)
        self.bn3, self.conv3 = nn.BatchNorm2d(quarter), _conv3(quarter, quarter)
        self.downsample = None
        if num_in != num_out:
            self.downsample = nn.Sequential(
                nn.BatchNorm2d(num_in), nn.ReLU(), nn.Conv2d(num_in, num_out, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        a = self.conv1(F.relu(self.bn1(x)))
        b = self.conv2(F.relu(self.bn2(a)))
        c = self.conv3(F.relu(self.bn3(b)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.cat([a, b, c], 1) + shortcut


class HourGlass(nn.Module):
    """Hourglass network: four levels of downsampling and upsampling with a skip branch at each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        names = [f"b{i}_{level}" for level in range(DEPTH, 0, -1) for i in (1, 2, 3)]
        for name in [*names, "b2_plus_1"]:
            self.add_module(name, ConvBlock(channels, channels))

    def forward(self, x: Tensor, level: int = DEPTH) -> Tensor:  # noqa: D102
        up = self.get_submodule(f"b1_{level}")(x)
        low = self.get_submodule(f"b2_{level}")(F.max_pool2d(x, 2))
        low = self.forward(low, level - 1) if level > 1 else self.get_submodule("b2_plus_1")(low)
        low = self.get_submodule(f"b3_{level}")(low)
        return up + F.interpolate(low, size=up.shape[-2:], mode="bilinear", align_corners=False)


class Trunk(nn.Module):
    """Face trunk: (B, 3, 224, 224) in [-1, 1] to (B, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, stride=2, padding=3), nn.BatchNorm2d(64)
        self.conv2, self.conv3, self.conv4 = ConvBlock(64, 128), ConvBlock(128, 128), ConvBlock(128, 256)
        self.m0, self.top_m_0 = HourGlass(256), ConvBlock(256, 256)
        self.conv_last0, self.bn_end0 = nn.Conv2d(256, 256, 1), nn.BatchNorm2d(256)
        self.l0, self.bn5 = nn.Conv2d(256, 68, 1), nn.BatchNorm2d(68)
        self.conv6, self.fc = nn.Conv2d(68, 1, 3, stride=2, padding=1), nn.Linear(28 * 28, TRUNK_DIM)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(self.conv2(x), 2)
        x = self.top_m_0(self.m0(self.conv4(self.conv3(x))))
        x = self.l0(F.relu(self.bn_end0(self.conv_last0(x))))
        x = self.conv6(F.relu(self.bn5(x)))
        return self.fc(F.relu(x.flatten(1)))


class ExpressionEncoder(nn.Module):
    """Expression encoder: aligned faces (B, 3, 224, 224) RGB in [-1, 1] to features (B, 554).

    A feature is `[head pose 6 | eyes 6 | emotion 30 | mouth 512]`. The mouth part is the hidden vector before the 500-d
    embedding layer, which the published weights contain but do not use.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = Trunk()
        for name, dim in {**HEAD_DIMS, "mouth": 500}.items():
            self.add_module(f"to_{name}", _build_head())
            self.add_module(f"{name}_embed", nn.Sequential(nn.ReLU(), nn.Linear(TRUNK_DIM, dim)))
        self.eval()

    def forward(self, faces: Tensor) -> Tensor:  # noqa: D102
        trunk = self.model(faces)
        head, eye, emo = (
            self.get_submodule(f"{name}_embed")(self.get_submodule(f"to_{name}")(trunk))
            for name in ("headpose", "eye", "emo")
        )
        return torch.cat([head, eye, emo, self.get_submodule("to_mouth")(trunk)], 1)


def _conv3(num_in: int, num_out: int) -> nn.Conv2d:
    return nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)


def _build_head() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(TRUNK_DIM, TRUNK_DIM), nn.ReLU(), nn.BatchNorm1d(TRUNK_DIM), nn.Linear(TRUNK_DIM, TRUNK_DIM)
    )
