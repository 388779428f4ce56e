"""Linear autoencoder of patches with the interface of Wan's VAE, for tiny models that are trained on a CPU.

A patch of 8 x 8 pixels in the first frame, or in four frames after it, is projected on its 16 principal components,
which share one scale, so that their mean variance is one. It is fitted to frames in a second; a VAE with convolutions
would take hours.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SIDE, CHANNELS = 8, 16


class PatchProjection(nn.Module):
    """Projection of patches of `num_frames` frames on principal components, and back."""

    def __init__(self, num_frames: int) -> None:
        super().__init__()
        self.num_frames, size = num_frames, 3 * num_frames * SIDE * SIDE
        self.mean = nn.Parameter(torch.zeros(size))
        self.basis = nn.Parameter(torch.zeros(CHANNELS, size))
        self.scale = nn.Parameter(torch.ones(1))

    def encode(self, clip: Tensor) -> Tensor:
        """Encode (B, 3, f * num_frames, H, W) to (B, 16, f, H / 8, W / 8)."""
        latents = (self.split(clip) - self.mean) @ self.basis.T / self.scale
        return latents.permute(0, 4, 1, 2, 3)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode (B, 16, f, h, w) to (B, 3, f * num_frames, 8 h, 8 w)."""
        patches = (latents.permute(0, 2, 3, 4, 1) * self.scale) @ self.basis + self.mean
        patches = patches.unflatten(-1, (3, self.num_frames, SIDE, SIDE))  # (B, f, h, w, 3, T, 8, 8)
        return patches.permute(0, 4, 1, 5, 2, 6, 3, 7).flatten(6, 7).flatten(4, 5).flatten(2, 3)

    def split(self, clip: Tensor) -> Tensor:
        """Split (B, 3, f * num_frames, H, W) into patches (B, f, h, w, 3 * num_frames * 64)."""
        patches = clip.unflatten(4, (-1, SIDE)).unflatten(3, (-1, SIDE)).unflatten(2, (-1, self.num_frames))
        return patches.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)

    @torch.no_grad()
    def fit(self, clips: Tensor) -> None:
        """Set the components to the principal ones of clips (B, 3, f * num_frames, H, W)."""
        patches = self.split(clips).flatten(0, 3).double()
        mean = patches.mean(0)
        covariance = (patches - mean).T @ (patches - mean) / len(patches)
        variances, vectors = torch.linalg.eigh(covariance)
        vectors = vectors[:, -CHANNELS:].flip(1)  # the strongest first
        signs = torch.where(vectors.sum(0) < 0, -1.0, 1.0)  # eigenvectors have any sign
        self.mean.copy_(mean)
        self.basis.copy_((vectors * signs).T)
        self.scale.copy_(variances[-CHANNELS:].mean().sqrt())


class PatchDecoder(nn.Module):
    """Decoder of one latent frame at a time, called like that of Wan's VAE; it needs no cache of earlier frames."""

    def __init__(self, first: PatchProjection, rest: PatchProjection) -> None:
        super().__init__()
        self._projections = (first, rest)

    def forward(
        self, latent: Tensor, feat_cache: Any = None, feat_idx: Any = None, first_chunk: bool = False
    ) -> Tensor:
        """Decode one latent frame (B, 16, 1, h, w) to 1 (the first) or 4 frames."""
        return self._projections[0 if first_chunk else 1].decode(latent)


class PatchAutoencoder(nn.Module):
    """Autoencoder of clips of 4 k + 1 frames: latents (B, 16, k + 1, H / 8, W / 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.rest = PatchProjection(1), PatchProjection(4)
        self.decoder, self.post_quant_conv = PatchDecoder(self.first, self.rest), nn.Identity()
        self.config = SimpleNamespace(latents_mean=[0.0] * CHANNELS, latents_std=[1.0] * CHANNELS)

    def encode(self, clip: Tensor) -> Any:
        """Encode (B, 3, F, H, W) in [-1, 1]; the result is wrapped as by diffusers."""
        parts = [self.first.encode(clip[:, :, :1])]
        if clip.shape[2] > 1:
            parts.append(self.rest.encode(clip[:, :, 1:]))
        latents = torch.cat(parts, 2)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))

    def fit(self, frames: np.ndarray) -> "PatchAutoencoder":
        """Fit the components to videos (B, F, H, W, 3) uint8 and return the autoencoder."""
        clips = torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
        self.first.fit(clips)
        self.rest.fit(clips[:, :, : clips.shape[2] // 4 * 4])
        return self.requires_grad_(False)
