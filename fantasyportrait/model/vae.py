"""VAE encoding and decoding, one latent frame at a time, so that memory does not grow with the length of a clip."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

VAE_SCALE_FACTOR = 8  # pixels per latent, horizontally and vertically


def latent_statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the VAE's latents, (1, 16, 1, 1, 1), of the type and device of `like`."""
    return tuple(
        torch.tensor(values).view(1, -1, 1, 1, 1).to(like)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )  # type: ignore[return-value]


@torch.no_grad()
def image_condition(vae: Any, image: np.ndarray, num_latent_frames: int, *, tile: int | None = None) -> Tensor:
    """Encode the portrait as the backbone's image condition (1, 20, f, h, w): a mask (4 channels), then latents (16).

    The latents are those of a clip of the portrait followed by grey (zero) frames; the mask is 1 in the first latent
    frame.

    Args:
        vae: `AutoencoderKLWan`.
        image: (H, W, 3) uint8 RGB, sides multiples of 16.
        num_latent_frames: f.
        tile: as for `decode`.
    """
    clip = torch.zeros(1, 3, 4 * num_latent_frames - 3, *image.shape[:2]).to(next(vae.parameters()))
    clip[:, :, 0] = image_to_tensor(image).to(clip)
    latents = _encode(vae, clip, tile)
    mask = torch.zeros(1, 4, *latents.shape[2:]).to(latents)
    mask[:, :, 0] = 1
    return torch.cat([mask, latents], 1)


@torch.no_grad()
def encode_video(vae: Any, frames: np.ndarray, *, tile: int | None = None) -> Tensor:
    """Encode a clip as normalised latents (1, 16, f, h, w), the inverse of `decode` up to the loss of the VAE.

    Args:
        vae: `AutoencoderKLWan`.
        frames: (F, H, W, 3) uint8 RGB, F = 4 f - 3, H and W multiples of 16.
        tile: as for `decode`.

    Raises:
        ValueError: the number of frames is not 4 k + 1.
    """
    if len(frames) % 4 != 1:
        raise ValueError(f"{len(frames)} frames do not fill whole latent frames; expected 4 k + 1")
    weight = next(vae.parameters())
    clip = torch.cat([image_to_tensor(frame).to(weight) for frame in frames]).transpose(0, 1).unsqueeze(0)
    return _encode(vae, clip, tile)


def _encode(vae: Any, clip: Tensor, tile: int | None) -> Tensor:
    """Encode a clip (1, 3, F, H, W) in [-1, 1] as the mode of the normalised latents, (1, 16, f, h, w)."""
    height, width = (n // VAE_SCALE_FACTOR for n in clip.shape[-2:])
    latents = torch.zeros(1, 16, (clip.shape[2] + 3) // 4, height, width).to(clip)
    for t in _split_tiles(height, width, tile, latents.device, scale=1):
        rows, columns = t.pixels()
        latents[..., t.rows, t.columns] += vae.encode(clip[..., rows, columns]).latent_dist.mode() * t.weights
    mean, std = latent_statistics(vae, latents)
    return (latents - mean) / std


def image_to_tensor(image: np.ndarray) -> Tensor:
    """Convert (H, W, 3) uint8 to (1, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1


@dataclass
class _Tile:
    """Tile of a frame, in units of latents, with the decoder's cache of earlier frames."""

    rows: slice
    columns: slice
    weights: Tensor  # blending weights of its pixels, or of its latents
    cache: list[Any] = field(default_factory=list)

    def move_cache(self, device: torch.device) -> None:
        """Move the cache to a device."""
        self.cache = [x.to(device) if isinstance(x, Tensor) else x for x in self.cache]

    def pixels(self) -> tuple[slice, slice]:
        """Return the tile's rows and columns in pixels."""
        return tuple(  # type: ignore[return-value]
            slice(s.start * VAE_SCALE_FACTOR, s.stop * VAE_SCALE_FACTOR) for s in (self.rows, self.columns)
        )


@torch.no_grad()
def decode(vae: Any, latents: Tensor, *, tile: int | None = None) -> Iterator[np.ndarray]:
    """Yield the 4 f - 3 frames of latents (1, 16, f, h, w) as (H, W, 3) uint8 RGB, as soon as each is decoded.

    Args:
        vae: `AutoencoderKLWan`.
        latents: normalised, as the sampler returns them.
        tile: side in pixels of tiles that are decoded one by one and blended, which limits memory to that of one tile;
            None decodes whole frames and gives the result of `vae.decode`.
    """
    weight = next(vae.parameters())
    mean, std = latent_statistics(vae, latents)
    latents = vae.post_quant_conv((latents * std + mean).to(weight))
    tiles = _split_tiles(*latents.shape[-2:], tile, latents.device)
    num_convs = vae._cached_conv_counts["decoder"] if hasattr(vae, "_cached_conv_counts") else _count_convs(vae)
    for t in tiles:
        t.cache = [None] * num_convs
    for i in range(latents.shape[2]):
        yield from _to_frames(_decode_step(vae, latents[:, :, i : i + 1], tiles, first=i == 0))


def _count_convs(vae: Any) -> int:
    return sum(type(m).__name__ == "WanCausalConv3d" for m in vae.decoder.modules())


def _decode_step(vae: Any, latent: Tensor, tiles: list[_Tile], *, first: bool) -> Tensor:
    """Decode one latent frame to 1 (the first) or 4 video frames, (3, T, H, W) in [-1, 1]."""
    if len(tiles) == 1:
        return _decode_tile(vae, latent, tiles[0], first=first).clamp(-1, 1)
    height, width = (n * VAE_SCALE_FACTOR for n in latent.shape[-2:])
    frames = torch.zeros(3, 1 if first else 4, height, width, device=latent.device)
    for tile in tiles:
        rows, columns = tile.pixels()
        tile.move_cache(latent.device)
        decoded = _decode_tile(vae, latent[..., tile.rows, tile.columns], tile, first=first)
        tile.move_cache(torch.device("cpu"))
        frames[..., rows, columns] += decoded * tile.weights
    return frames.clamp(-1, 1)


def _decode_tile(vae: Any, latent: Tensor, tile: _Tile, *, first: bool) -> Tensor:
    # The decoder is causal and caches the last input frames of every convolution, as in the loop of diffusers.
    return vae.decoder(latent, feat_cache=tile.cache, feat_idx=[0], first_chunk=first)[0].float()


def _to_frames(frames: Tensor) -> Iterator[np.ndarray]:
    yield from ((frames + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()


def _split_tiles(
    height: int, width: int, tile: int | None, device: torch.device, scale: int = VAE_SCALE_FACTOR
) -> list[_Tile]:
    """Split a (height, width) grid of latents into overlapping tiles whose weights, `scale` per latent, sum to one."""
    side = (tile or 0) // VAE_SCALE_FACTOR or max(height, width)
    rows, columns = _spans(height, side), _spans(width, side)
    row_ramps = {s.start: _ramp(s, height, scale) for s in rows}
    column_ramps = {s.start: _ramp(s, width, scale) for s in columns}
    total = sum(row_ramps.values())[:, None] * sum(column_ramps.values())[None]
    tiles = []
    for r in rows:
        for c in columns:
            weights = row_ramps[r.start][:, None] * column_ramps[c.start][None] / total
            cropped = weights[r.start * scale : r.stop * scale, c.start * scale : c.stop * scale]
            tiles.append(_Tile(r, c, cropped.to(device)))
    return tiles


def _spans(length: int, side: int) -> list[slice]:
    """Return slices of length `side` that overlap by at least a quarter and cover `length`."""
    if length <= side:
        return [slice(0, length)]
    count = -(-(length - side) // max(1, side * 3 // 4)) + 1
    starts = [round(i * (length - side) / (count - 1)) for i in range(count)]
    return [slice(start, start + side) for start in starts]


def _ramp(span: slice, length: int, scale: int) -> Tensor:
    """Return weights (length * scale,) that ramp up and down over a quarter of the span and are zero outside it."""
    positions = torch.arange(length * scale) + 0.5
    low, high = span.start * scale, span.stop * scale
    rise = (positions - low) if span.start else torch.full_like(positions, torch.inf)
    fall = (high - positions) if span.stop < length else torch.full_like(positions, torch.inf)
    return torch.minimum(rise, fall).clamp(0, (high - low) / 4)
