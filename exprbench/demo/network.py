"""The demo's stand-ins for Inception and I3D: small convolutional networks whose weights are drawn from a fixed seed.

Distances between their features grow with blur, noise, wrong colours and wrong movement as FID and FVD do, but the
numbers cannot be compared with those of the real networks, and the ids say so.
"""

from functools import cache

import cv2
import numpy as np

SIDE = 64  # pixels a frame is squashed to
CHANNELS = (3, 16, 24, 32)
NUM_FEATURES = 64
CLIP_FRAMES = 16
SEED = 64
SCALE = 20.0  # brings the features of two different people to distances of the order of one
BATCH = 64


class DemoImageNet:
    """Frames to features: the mean and the spread of each of 32 channels over the frame."""

    id = "fid[demo-net64,squash64]"
    dim = NUM_FEATURES

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """(n, 64) float32 features of (n, H, W, 3) uint8 RGB frames."""
        parts = [maps(frames[i : i + BATCH]) for i in range(0, len(frames), BATCH)]
        features = [np.concatenate([part.mean((1, 2)), part.std((1, 2))], axis=1) for part in parts]
        return SCALE * np.concatenate(features) if features else np.empty((0, self.dim), np.float32)


class DemoClipNet:
    """Clips to features: 64 channels that see three frames in succession, averaged over time and the frame."""

    id = "fvd[demo-net64,16f,squash64]"
    dim = NUM_FEATURES
    num_frames = CLIP_FRAMES

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """(n, 64) float32 features of (n, 16, H, W, 3) uint8 RGB clips."""
        features = [SCALE * _moving(maps(clip)) for clip in clips]
        return np.stack(features) if features else np.empty((0, self.dim), np.float32)


def maps(frames: np.ndarray) -> np.ndarray:
    """(n, 8, 8, 32) float32: what three convolutions of 3 x 3, each halving the frame, make of (n, H, W, 3) uint8."""
    small = [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames]
    x = np.array(small, np.float32).reshape(-1, SIDE, SIDE, CHANNELS[0]) / 127.5 - 1
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
