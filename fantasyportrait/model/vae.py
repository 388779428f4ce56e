"""Frames to latents and back, a latent frame at a time, so that memory does not grow with the length of a clip."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

SCALE = 8  # pixels a latent, across and down


def latent_statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the latents the model was trained on, (1, 16, 1, 1, 1)."""
    return tuple(
        torch.tensor(values).view(1, -1, 1, 1, 1).to(like)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )  # type: ignore[return-value]


@torch.no_grad()
def image_condition(vae: Any, image: np.ndarray, num_latent: int, *, tile: int | None = None) -> Tensor:
    """What tells the backbone of the portrait: (1, 20, f, h, w), a mask of 4 channels and 16 of latents.

    The latents are those of a clip that shows the portrait and then grey (zero) frames; the mask marks the first.

    Args:
        vae: `AutoencoderKLWan`.
        image: (H, W, 3) uint8 RGB, sides multiples of 16.
        num_latent: f.
        tile: as for `decode`.
    """
    weight = next(vae.parameters())
    height, width = (n // SCALE for n in image.shape[:2])
    latents = torch.zeros(1, 16, num_latent, height, width).to(weight)
    for t in _lay_tiles(height, width, tile, latents.device, scale=1):
        rows, columns = t.pixels()
        latents[..., t.rows, t.columns] += _encode(vae, image[rows, columns], num_latent) * t.weights
    mean, std = latent_statistics(vae, latents)
    mask = torch.zeros(1, 4, *latents.shape[2:]).to(latents)
    mask[:, :, 0] = 1
    return torch.cat([mask, (latents - mean) / std], 1)


def _encode(vae: Any, image: np.ndarray, num_latent: int) -> Tensor:
    """Latents of a clip that shows an image and then grey, as the VAE gives them."""
    clip = torch.zeros(1, 3, 4 * num_latent - 3, *image.shape[:2]).to(next(vae.parameters()))
    clip[:, :, 0] = to_unit(image).to(clip)
    return vae.encode(clip).latent_dist.mode()


def to_unit(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1


@dataclass
class _Tile:
    """A part of the picture, in latents, with the decoder's memory of the frames before."""

    rows: slice
    columns: slice
    weights: Tensor  # of its pixels, or latents
    memory: list[Any] = field(default_factory=list)

    def remember(self, device: torch.device) -> None:
        """Bring the memory to a device."""
        self.memory = [m.to(device) if isinstance(m, Tensor) else m for m in self.memory]

    def pixels(self) -> tuple[slice, slice]:
        return tuple(slice(s.start * SCALE, s.stop * SCALE) for s in (self.rows, self.columns))  # type: ignore[return-value]


@torch.no_grad()
def decode(vae: Any, latents: Tensor, *, tile: int | None = None) -> Iterator[np.ndarray]:
    """The frames of (1, 16, f, h, w) latents, 4 f - 3 of them, (H, W, 3) uint8 RGB, as they are decoded.

    Args:
        vae: `AutoencoderKLWan`.
        latents: as the sampler leaves them.
        tile: side in pixels of the tiles to decode apart and blend, which needs memory for one of them; None decodes
            the whole picture at once, and gives what `vae.decode` does.
    """
    weight = next(vae.parameters())
    mean, std = latent_statistics(vae, latents)
    latents = vae.post_quant_conv((latents * std + mean).to(weight))
    tiles = _lay_tiles(*latents.shape[-2:], tile, latents.device)
    num_convs = vae._cached_conv_counts["decoder"] if hasattr(vae, "_cached_conv_counts") else _count_convs(vae)
    for t in tiles:
        t.memory = [None] * num_convs
    for i in range(latents.shape[2]):
        yield from _to_frames(_decode_step(vae, latents[:, :, i : i + 1], tiles, first=i == 0))


def _count_convs(vae: Any) -> int:
    return sum(type(m).__name__ == "WanCausalConv3d" for m in vae.decoder.modules())


def _decode_step(vae: Any, latent: Tensor, tiles: list[_Tile], *, first: bool) -> Tensor:
    """One latent frame to its 1 (the first) or 4 frames, (3, T, H, W) in [-1, 1]."""
    if len(tiles) == 1:
        return _decode_tile(vae, latent, tiles[0], first=first).clamp(-1, 1)
    height, width = (n * SCALE for n in latent.shape[-2:])
    picture = torch.zeros(3, 1 if first else 4, height, width, device=latent.device)
    for tile in tiles:
        rows, columns = tile.pixels()
        tile.remember(latent.device)
        part = _decode_tile(vae, latent[..., tile.rows, tile.columns], tile, first=first)
        tile.remember(torch.device("cpu"))
        picture[..., rows, columns] += part * tile.weights
    return picture.clamp(-1, 1)


def _decode_tile(vae: Any, latent: Tensor, tile: _Tile, *, first: bool) -> Tensor:
    # The decoder is causal and keeps, for every convolution, the last frames it saw; diffusers' own loop does the same.
    return vae.decoder(latent, feat_cache=tile.memory, feat_idx=[0], first_chunk=first)[0].float()


def _to_frames(picture: Tensor) -> Iterator[np.ndarray]:
    frames = ((picture + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()
    yield from frames


def _lay_tiles(height: int, width: int, tile: int | None, device: torch.device, scale: int = SCALE) -> list[_Tile]:
    """Overlapping tiles over a (height, width) grid of latents; their weights, `scale` a latent, add up to one."""
    side = (tile or 0) // SCALE or max(height, width)
    rows, columns = _spans(height, side), _spans(width, side)
    falls = {s.start: _ramp(s, height, scale) for s in rows}
    runs = {s.start: _ramp(s, width, scale) for s in columns}
    total = sum(falls.values())[:, None] * sum(runs.values())[None]
    tiles = []
    for down in rows:
        for across in columns:
            weights = falls[down.start][:, None] * runs[across.start][None] / total
            own = weights[down.start * scale : down.stop * scale, across.start * scale : across.stop * scale]
            tiles.append(_Tile(down, across, own.to(device)))
    return tiles


def _spans(length: int, side: int) -> list[slice]:
    """Slices of `side` that overlap by at least a quarter and cover `length`."""
    if length <= side:
        return [slice(0, length)]
    count = -(-(length - side) // max(1, side * 3 // 4)) + 1
    starts = [round(i * (length - side) / (count - 1)) for i in range(count)]
    return [slice(start, start + side) for start in starts]


def _ramp(span: slice, length: int, scale: int) -> Tensor:
    """Weights along the picture, (length * scale,): rising over a quarter of the span, zero outside it."""
    at = torch.arange(length * scale) + 0.5
    low, high = span.start * scale, span.stop * scale
    rise = (at - low) if span.start else torch.full_like(at, torch.inf)
    fall = (high - at) if span.stop < length else torch.full_like(at, torch.inf)
    return torch.minimum(rise, fall).clamp(0, (high - low) / 4)
