"""Weights in 8 bits: int8 or float8 matrices with one scale per row, in plain tensors.

torchao's tensors are not used: `.cpu()` of one in CPU memory returns the tensor itself, so the copy that diffusers'
offloading keeps in CPU memory would move to the GPU together with the weight.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

QUANTISED_DTYPES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
MAXIMUM = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}


class QuantisedLinear(nn.Linear):
    """Linear layer with 8-bit weights (out, in) and scales (out, 1) in float32; computes in the type of its input.

    It is an `nn.Linear`, so that offloading treats it as one.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight, scale = quantise_rows(linear.weight.detach(), dtype)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)  # diffusers' offloading leaves buffers on the device
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.linear(x, self.weight.to(x.dtype).mul_(self.scale), self.bias)


def quantise_rows(weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Quantise a matrix (out, in) to 8 bits; return it with the scale of each row, (out, 1) float32."""
    values = weight.float()
    scale = (values.abs().amax(1, keepdim=True) / MAXIMUM[dtype]).clamp_min(torch.finfo(torch.float32).tiny)
    values = values / scale
    return (values.round() if dtype == torch.int8 else values).to(dtype), scale


def quantise_linears(module: nn.Module, weights: str) -> None:
    """Replace the linear layers of a module by ones with `int8` or `fp8` weights, in place."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, QuantisedLinear(child, QUANTISED_DTYPES[weights]))
