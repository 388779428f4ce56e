"""Replacements of Inception and I3D in the demo: small convolutional networks with random weights of a fixed seed.

Distances between their features increase with blur, noise, wrong colours and wrong motion, as FID and FVD do, but the
numbers cannot be compared with those of the published networks; the ids of the metrics name the network.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

SIDE = 64  # pixels of the resized frame
CHANNELS = (3, 16, 24, 32)
NUM_FEATURES = 64
SEED = 64
SCALE = 20.0  # distances between features of different people are of the order of 1
BATCH = 64


class DemoImageNet:
    """`FrameExtractor` of the demo: mean and standard deviation of 32 channels over a frame."""

    id = "demo-net64,squash64"
    num_features = NUM_FEATURES
    batch = BATCH

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """Return an (H, W, 3) uint8 RGB frame as (64, 64, 3) uint8."""
        return squashed(frame)

    def features(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """Return (n, 64) float32 features."""
        channels = maps(prepared)
        return SCALE * np.concatenate([channels.mean((1, 2)), channels.std((1, 2))], axis=1)


class DemoClipNet:
    """`ClipExtractor` of the demo: 64 channels over three consecutive frames, averaged over time and the frame."""

    id = "demo-net64,squash64"
    num_features = NUM_FEATURES
    batch = 1

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """Return an (H, W, 3) uint8 RGB frame as (64, 64, 3) uint8."""
        return squashed(frame)

    def features(self, prepared: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
        """Return (n, 64) float32 features."""
        return np.stack([SCALE * _temporal_features(maps(clip)) for clip in prepared])


def squashed(frame: np.ndarray) -> np.ndarray:
    """Return a frame at the input size of the networks."""
    return cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def maps(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Return feature maps (n, 8, 8, 32) float32 of resized frames: three 3 x 3 convolutions with stride 2."""
    x = np.array(frames, np.float32).reshape(-1, SIDE, SIDE, CHANNELS[0]) / 127.5 - 1
    for layer in range(len(CHANNELS) - 1):
        x = _convolve(x, weights(layer, 9 * CHANNELS[layer], CHANNELS[layer + 1]))
    return x


def _temporal_features(x: np.ndarray) -> np.ndarray:
    """Return the features (64,) of the maps (t, h, w, c) of a clip's frames."""
    three = np.concatenate([x[:-2], x[1:-1], x[2:]], axis=-1)
    return np.maximum(three @ weights(len(CHANNELS), three.shape[-1], NUM_FEATURES), 0).mean((0, 1, 2))


def _convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return a rectified 3 x 3 convolution with stride 2 and edge padding."""
    n, height, width, channels = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    columns = np.ascontiguousarray(patches).reshape(-1, 9 * channels)
    return np.maximum(columns @ weight, 0).reshape(n, height // 2, width // 2, -1)


@cache
def weights(layer: int, num_in: int, num_out: int) -> np.ndarray:
    """Return the float32 weights (num_in, num_out) of a layer: normal, variance 2 / num_in, from PCG64."""
    rng = np.random.Generator(np.random.PCG64([SEED, layer]))
    return (rng.standard_normal((num_in, num_out)) * np.sqrt(2 / num_in)).astype(np.float32)
