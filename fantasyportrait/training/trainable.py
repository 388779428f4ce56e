"""The trained network: backbone and motion adapter in one module, and which of its parameters are trained."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.motion_tokens import MotionTokens
from fantasyportrait.model.transformer import MotionTransformer

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")


class TrainableModel(nn.Module):
    """Backbone with its motion adapter; one forward pass computes keys and values of the motion, then the velocity."""

    def __init__(self, backbone: MotionTransformer, adapter: MotionAdapter) -> None:
        super().__init__()
        self.backbone, self.adapter = backbone, adapter

    def forward(
        self, hidden: Tensor, timestep: Tensor, text: Tensor, image: Tensor, features: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Predict the velocity (B, 16, f, h, w).

        Args:
            hidden: noisy latents and image condition, (B, 36, f, h, w).
            timestep: (B,), 1000 for pure noise.
            text: (B, 512, text_dim).
            image: (B, 257, C).
            features: (B, N, F, 554).
            mask: (B, f, p, N) bool, or None.
        """
        motion = MotionTokens(self.adapter(features), mask)
        return self.backbone(hidden, timestep, text, image, motion)


class LoraLinear(nn.Module):
    """Frozen linear layer with a trainable low-rank addition, y = W x + scale B A x; B is zero at the start."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), alpha / rank
        options = {"bias": False, "dtype": torch.float32, "device": base.weight.device}
        self.lora_a = nn.Linear(base.in_features, rank, **options)
        self.lora_b = nn.Linear(rank, base.out_features, **options)
        nn.init.kaiming_uniform_(self.lora_a.weight, a=5**0.5)
        nn.init.zeros_(self.lora_b.weight)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        update = self.lora_b(self.lora_a(x.to(self.lora_a.weight.dtype)))
        return self.base(x) + (update * self.scale).to(x.dtype)

    @property
    def weight(self) -> Tensor:
        """Return the frozen weight, of which other modules read the data type."""
        return self.base.weight

    @torch.no_grad()
    def merged(self) -> Tensor:
        """Return W + scale B A in the type of W."""
        update = self.lora_b.weight.float() @ self.lora_a.weight.float() * self.scale
        return (self.base.weight.float() + update).to(self.base.weight.dtype)


def add_lora(backbone: MotionTransformer, rank: int, alpha: float) -> None:
    """Replace the attention and feed-forward matrices of every block by ones with LoRA, in place."""
    for block in backbone.blocks:
        for parent_name, parent in list(block.named_modules()):
            for name, child in list(parent.named_children()):
                full = f".{parent_name}.{name}"
                if isinstance(child, nn.Linear) and full.endswith(tuple(f".{target}" for target in LORA_TARGETS)):
                    setattr(parent, name, LoraLinear(child, rank, alpha))


def select_trained(model: TrainableModel, backbone: str, *, rank: int = 64, alpha: float = 64.0) -> None:
    """Set which parameters are trained: the adapter always, the backbone as `backbone` says.

    Args:
        model: in place.
        backbone: `frozen`, `lora` or `full`.
        rank: of LoRA.
        alpha: scale of LoRA times its rank.
    """
    model.adapter.requires_grad_()
    model.backbone.requires_grad_(backbone == "full")
    if backbone == "lora":
        add_lora(model.backbone, rank, alpha)


def trained_parameters(module: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    """Yield the names and values of the trainable parameters."""
    return ((name, p) for name, p in module.named_parameters() if p.requires_grad)
