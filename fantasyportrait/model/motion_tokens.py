"""Motion keys and values of every layer, computed from expression features once per clip instead of once per step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.attention import LayerMotion

KeyValue = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class MotionTokens:
    """Motion keys and values of every layer, (B, f, N L, D) each, with an attention mask (B, f, p, N) bool or None.

    They can be in CPU memory; attention moves those of each layer to the device when it needs them.
    """

    keys_values: Sequence[KeyValue]
    mask: Tensor | None = None

    def layers(self, tokens_per_frame: int) -> Iterator[LayerMotion]:
        """Yield the motion of each block in order."""
        return (LayerMotion(key, value, self.mask, tokens_per_frame) for key, value in self.keys_values)


def compute_motion_tokens(
    adapter: MotionAdapter,
    features: Tensor,
    *,
    counts: Tensor | None = None,
    mask: Tensor | None = None,
    strengths: Sequence[dict[str, float]] = (),
    strength: float = 1.0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    keep_on: torch.device | str | None = None,
) -> MotionTokens:
    """Compute the motion keys and values of a clip, or of a batch of clips; gradients reach the adapter.

    Args:
        adapter: on any device; its projections are moved to `device` one layer at a time.
        features: (N, F, 554), one row per driven person, left to right; or (B, N, F, 554), where samples with fewer
            people are padded.
        counts: number of people of each sample, (B,); padding is masked. With 0 the motion is dropped: its attention
            is exactly zero, as with a strength of 0. None if no sample is padded.
        mask: (B, f, p, N) bool, see `face_attention_mask`; None for no mask.
        strengths: scale of each feature (`mouth`, `emotion`, `eyes`, `head`) for each person; empty for 1.
        strength: scale of all motion. Scales apply to the values, so 0 removes the motion.
        device: where to compute.
        dtype: data type of the keys and values.
        keep_on: device on which to keep them, by default `device`; `recompute` to compute them on each access.
    """
    num_people, num_frames = features.shape[-3:-1]
    tokens = adapter.embed(features.to(adapter.norm.weight)).to(device)
    per_person = [adapter.token_weights(s, num_frames) for s in strengths or [{}] * num_people]
    weights = strength * torch.cat(per_person, 1).to(tokens).unsqueeze(0)
    if counts is not None:
        mask = mask_padding(counts, tokens.shape[1], num_people, mask)
    lazy = _LazyKeysValues(adapter, tokens, weights, torch.device(device), dtype)
    keys_values: Sequence[KeyValue] = lazy
    if keep_on != "recompute":
        keys_values = [tuple(_store(t, keep_on or device) for t in pair) for pair in lazy]  # type: ignore[misc]
    return MotionTokens(keys_values, mask if mask is None else mask.to(device))


def mask_padding(counts: Tensor, num_latent_frames: int, num_people: int, mask: Tensor | None = None) -> Tensor:
    """Return an attention mask (B, f, p or 1, N) bool without the people beyond each sample's count (B,)."""
    is_present = torch.arange(num_people, device=counts.device) < counts.unsqueeze(1)
    is_present = is_present[:, None, None].expand(-1, num_latent_frames, -1, -1)
    return is_present if mask is None else mask & is_present.to(mask.device)


@dataclass(frozen=True)
class _LazyKeysValues(Sequence[KeyValue]):
    """Keys and values of each layer, computed on access; the layer is on the device only during the computation."""

    adapter: MotionAdapter
    tokens: Tensor
    weights: Tensor
    device: torch.device
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.adapter.layers)

    def __getitem__(self, index: int) -> KeyValue:  # type: ignore[override]
        layer = self.adapter.layers[index]
        storage_device = layer.to_k.weight.device
        key, value = layer.to(self.device)(self.tokens, self.weights)
        layer.to(storage_device)
        return key.to(self.dtype), value.to(self.dtype)


def _store(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Move a tensor to a device; from a GPU to the CPU it is pinned, so that it can be fetched asynchronously."""
    stored = tensor.to(device)
    return stored.pin_memory() if tensor.is_cuda and not stored.is_cuda else stored
