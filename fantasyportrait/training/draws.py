"""Random draws of training as counter hashes of (seed, sample, epoch, purpose).

A draw depends on nothing else: not on the rank, the batch, or what was drawn before. Ranks therefore differ, and a
resumed run repeats the draws of the run it continues.
"""

import hashlib
from statistics import NormalDist

import torch
from torch import Tensor


def counter_hash(seed: int, sample: str, epoch: int, purpose: str) -> int:
    """Return 64 random bits that are determined by the arguments."""
    key = repr((seed, sample, epoch, purpose)).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def draw_uniform(seed: int, sample: str, epoch: int, purpose: str) -> float:
    """Return a number from the open interval (0, 1)."""
    return ((counter_hash(seed, sample, epoch, purpose) >> 12) + 0.5) / 2**52


def draw_normal(seed: int, sample: str, epoch: int, purpose: str) -> float:
    """Return a number from the standard normal distribution, by inversion in float64."""
    return NormalDist().inv_cdf(draw_uniform(seed, sample, epoch, purpose))


def draw_noise(seed: int, sample: str, epoch: int, shape: tuple[int, ...]) -> Tensor:
    """Return Gaussian noise in float32, drawn on the CPU so that it is equal on every device."""
    generator = torch.Generator("cpu").manual_seed(counter_hash(seed, sample, epoch, "noise") >> 1)
    return torch.randn(shape, generator=generator, dtype=torch.float32)
