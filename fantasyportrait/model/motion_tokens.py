"""From expression features to what every layer's motion attention reads: once a clip and layer, not once a step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.attention import LayerMotion

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class MotionTokens:
    """Keys and values of every layer, (1, f, N L, D) each, and who sees whom, (1, f, p, N) or None for everybody.

    They may lie in main memory; the attention brings each layer's to the device as it comes to it.
    """

    keys_values: Sequence[Pair]
    mask: Tensor | None = None

    def layers(self, tokens_a_frame: int) -> Iterator[LayerMotion]:
        """For each block in turn."""
        return (LayerMotion(key, value, self.mask, tokens_a_frame) for key, value in self.keys_values)


@torch.no_grad()
def motion_tokens(
    adapter: MotionAdapter,
    features: Tensor,
    *,
    mask: Tensor | None = None,
    strengths: Sequence[dict[str, float]] = (),
    strength: float = 1.0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    keep_on: torch.device | str | None = None,
) -> MotionTokens:
    """What a clip's motion attention reads.

    Args:
        adapter: on any device; its projections are brought to `device` one layer at a time.
        features: (N, F, 554), one row a driven person, left to right.
        sees: (1, f, p, N), see `face_attention_mask`.
        strengths: a factor a feature (`mouth`, `emotion`, `eyes`, `head`), for each person or none.
        strength: a factor for all of it. Factors scale what motion adds to the picture, so that 0 leaves it out.
        device: where to compute.
        dtype: of the keys and values.
        keep_on: where to keep them; `device` by default, `nowhere` to compute them whenever they are read.
    """
    num_frames = features.shape[1]
    tokens = adapter.embed(features.to(adapter.norm.weight)).to(device)
    per_person = [adapter.token_weights(s, num_frames) for s in strengths or [{}] * len(features)]
    weights = strength * torch.cat(per_person, 1).to(tokens).unsqueeze(0)
    project = _Projected(adapter, tokens, weights, torch.device(device), dtype)
    pairs: Sequence[Pair] = project
    if keep_on != "nowhere":
        pairs = [tuple(_keep(t, keep_on or device) for t in pair) for pair in project]  # type: ignore[misc]
    return MotionTokens(pairs, mask if mask is None else mask.to(device))


@dataclass(frozen=True)
class _Projected(Sequence[Pair]):
    """Keys and values of each layer, computed when read; the layer comes to the device for it, and goes again."""

    adapter: MotionAdapter
    tokens: Tensor
    weights: Tensor
    device: torch.device
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.adapter.layers)

    @torch.no_grad()
    def __getitem__(self, index: int) -> Pair:  # type: ignore[override]
        layer = self.adapter.layers[index]
        home = layer.to_k.weight.device
        key, value = layer.to(self.device)(self.tokens, self.weights)
        layer.to(home)
        return key.to(self.dtype), value.to(self.dtype)


def _keep(tensor: Tensor, where: torch.device | str) -> Tensor:
    """On a device; in main memory so that a GPU can fetch it while it computes."""
    kept = tensor.to(where)
    return kept.pin_memory() if tensor.is_cuda and not kept.is_cuda else kept
