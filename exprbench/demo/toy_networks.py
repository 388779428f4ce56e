"""The demo's stand-ins for Inception and I3D: small convolutional networks whose weights are drawn from a fixed seed.

Distances between their features grow with blur, noise, wrong colours and wrong movement as FID and FVD do, but the
numbers cannot be compared with those of the real networks, and the ids say so.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

SIDE = 64  # pixels a frame is squashed to
CHANNELS = (3, 16, 24, 32)
NUM_FEATURES = 64
SEED = 64
SCALE = 20.0  # brings the features of two different people to distances of the order of one
BATCH = 64


class DemoImageNet:
    """A `FrameExtractor`: the mean and the spread of each of 32 channels over a frame."""

    id = "demo-net64,squash64"
    num_features = NUM_FEATURES
    batch = BATCH

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """(64, 64, 3) uint8 of an (H, W, 3) uint8 RGB frame."""
        return squashed(frame)

    def features(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """(n, 64) float32."""
        seen = maps(prepared)
        return SCALE * np.concatenate([seen.mean((1, 2)), seen.std((1, 2))], axis=1)


class DemoClipNet:
    """A `ClipExtractor`: 64 channels that see three frames in succession, averaged over time and the frame."""

    id = "demo-net64,squash64"
    num_features = NUM_FEATURES
    batch = 1

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """(64, 64, 3) uint8 of an (H, W, 3) uint8 RGB frame."""
        return squashed(frame)

    def features(self, prepared: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
        """(n, 64) float32."""
        return np.stack([SCALE * _moving(maps(clip)) for clip in prepared])


def squashed(frame: np.ndarray) -> np.ndarray:
    """A frame at the networks' size."""
    return cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def maps(frames: Sequence[np.ndarray]) -> np.ndarray:
    """(n, 8, 8, 32) float32: what three convolutions of 3 x 3, each halving the frame, make of squashed frames."""
    x = np.array(frames, np.float32).reshape(-1, SIDE, SIDE, CHANNELS[0]) / 127.5 - 1
    for layer in range(len(CHANNELS) - 1):
        x = _convolve(x, weights(layer, 9 * CHANNELS[layer], CHANNELS[layer + 1]))
    return x


def _moving(x: np.ndarray) -> np.ndarray:
    """(64,) of the maps (t, h, w, c) of a clip's frames."""
    three = np.concatenate([x[:-2], x[1:-1], x[2:]], axis=-1)
    return np.maximum(three @ weights(len(CHANNELS), three.shape[-1], NUM_FEATURES), 0).mean((0, 1, 2))


def _convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Rectified convolution of 3 x 3 with stride 2; the border repeats."""
    n, height, width, channels = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    columns = np.ascontiguousarray(patches).reshape(-1, 9 * channels)
    return np.maximum(columns @ weight, 0).reshape(n, height // 2, width // 2, -1)


@cache
def weights(layer: int, num_in: int, num_out: int) -> np.ndarray:
    """(num_in, num_out) float32 normal weights of a layer that keep the size of its input, from PCG64."""
    rng = np.random.Generator(np.random.PCG64([SEED, layer]))
    return (rng.standard_normal((num_in, num_out)) * np.sqrt(2 / num_in)).astype(np.float32)
