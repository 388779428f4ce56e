"""MediaPipe's face networks in PyTorch, on any device: the graphs of their .tflite files, operation by operation.

TensorFlow Lite orders the axes of pictures as height, width and channels. PyTorch's convolutions see them as channels,
height and width without moving data: that is the memory format `channels_last`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from exprbench.core.exact import exact
from exprbench.faces.face_networks import RANGES, read_network
from exprbench.faces.tflite import Graph, read_graph

MAX_BATCH = 64  # pictures at a time
ACTIVATIONS: dict[int, Callable[[Tensor], Tensor]] = {0: lambda x: x, 1: torch.relu}
SAME = 0  # padding with which an output has the size of its input, divided by the stride


class TorchNetworks:
    """Function that runs the networks (`Run`), which are loaded when they are first used.

    Args:
        model: path of `face_landmarker.task`.
        device: of PyTorch; empty is `cuda` if there is a GPU, else `cpu`.
    """

    def __init__(self, model: Path, device: str = "") -> None:
        self._path = model
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._networks: dict[str, TfliteNetwork] = {}

    def __call__(self, name: str, batch: np.ndarray) -> list[np.ndarray]:
        """Return the outputs of a network for a batch of any size."""
        if name not in self._networks:
            self._networks[name] = TfliteNetwork(read_graph(read_network(self._path, name)), self.device)
        with exact():
            parts = [self._run(name, part) for part in np.split(batch, range(MAX_BATCH, len(batch), MAX_BATCH))]
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def _run(self, name: str, batch: np.ndarray) -> list[np.ndarray]:
        values = torch.tensor(batch, device=self.device).float()
        if name in RANGES:
            low, high = RANGES[name]
            values = values * ((high - low) / 255) + low
        return [output.cpu().numpy() for output in self._networks[name](values)]


class TfliteNetwork:
    """Function of a batch (N, ...) that runs a graph with one input.

    The shapes in the graph are those of a batch of 1: its functions keep the first axis as it is.
    """

    def __init__(self, graph: Graph, device: str) -> None:
        self.graph = graph
        self.constants = {
            i: torch.tensor(array, device=device, dtype=torch.float32 if array.dtype.kind == "f" else None)
            for i, array in graph.constants.items()
        }
        self.shapes = {i: array.ravel().tolist() for i, array in graph.constants.items() if array.dtype == np.int32}

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, each (N, ...)."""
        tensors = {**self.constants, self.graph.inputs[0]: batch}
        for operation in self.graph.operations:
            inputs = [self.shapes.get(i, tensors[i]) for i in operation.inputs]
            options = dict(operation.options)
            activation = ACTIVATIONS[options.pop("activation", 0)]
            (output,) = operation.outputs
            tensors[output] = activation(FUNCTIONS[operation.kind](*inputs, **options))
        return tuple(tensors[i] for i in self.graph.outputs)


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _padded(x: Tensor, padding: int, sides: Sequence[int], strides: Sequence[int], value: float = 0.0) -> Tensor:
    """Return a picture (N, C, H, W) padded as TensorFlow does: the second side gets the larger half."""
    if padding != SAME:
        return x
    sizes = zip(x.shape[2:], sides, strides, strict=True)
    totals = [max(0, (-(-size // stride) - 1) * stride + side - size) for size, side, stride in sizes]
    (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
    return F.pad(x, (left, right, top, bottom), value=value) if any(totals) else x


def _convolution(x: Tensor, weight: Tensor, bias: Tensor, *, padding: int, stride_x: int, stride_y: int) -> Tensor:
    strides = stride_y, stride_x
    x = _padded(_channels_first(x), padding, weight.shape[1:3], strides)
    return _channels_last(F.conv2d(x, _channels_first(weight), bias, strides))


def _depthwise(
    x: Tensor, weight: Tensor, bias: Tensor, *, padding: int, stride_x: int, stride_y: int, multiplier: int
) -> Tensor:
    strides = stride_y, stride_x
    x = _padded(_channels_first(x), padding, weight.shape[1:3], strides)
    groups = weight.shape[3] // multiplier
    return _channels_last(F.conv2d(x, weight.permute(3, 0, 1, 2), bias, strides, groups=groups))


def _max_pool(x: Tensor, *, padding: int, stride_x: int, stride_y: int, width: int, height: int) -> Tensor:
    sides, strides = (height, width), (stride_y, stride_x)
    return _channels_last(
        F.max_pool2d(_padded(_channels_first(x), padding, sides, strides, -torch.inf), sides, strides)
    )


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return _channels_last(F.prelu(_channels_first(x), slope.flatten()))


def _concatenation(*parts: Tensor, axis: int) -> Tensor:
    length = max(map(len, parts))
    return torch.cat([part.expand(length, *part.shape[1:]) for part in parts], axis)


def _pad(x: Tensor, sides: list[int]) -> Tensor:
    pairs = list(zip(sides[::2], sides[1::2], strict=True))
    return F.pad(x, [side for pair in reversed(pairs) for side in pair])  # PyTorch begins with the last axis


def _strided_slice(
    x: Tensor, begin: list[int], end: list[int], strides: list[int], *, shrink_axis_mask: int, **masks: int
) -> Tensor:
    """Return a part of a tensor; a bit of a mask belongs to an axis."""

    def part(axis: int) -> slice | int:
        if shrink_axis_mask >> axis & 1:
            return begin[axis]
        first = None if masks["begin_mask"] >> axis & 1 else begin[axis]
        return slice(first, None if masks["end_mask"] >> axis & 1 else end[axis], strides[axis])

    return x[(slice(None), *map(part, range(1, len(begin))))]


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "ADD": torch.add,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": lambda x: x,  # from float16; constants are converted when they are loaded
    "DIV": torch.div,
    "LOGISTIC": torch.sigmoid,
    "MAX_POOL_2D": _max_pool,
    "MEAN": lambda x, axes, keep_dims: x.mean(axes, keepdim=bool(keep_dims)),
    "MUL": torch.mul,
    "NEG": torch.neg,
    "PAD": _pad,
    "PRELU": _prelu,
    "RELU": torch.relu,
    "RESHAPE": lambda x, *inputs, shape: x.reshape(len(x), *(inputs[0] if inputs else shape)[1:]),
    "RSQRT": torch.rsqrt,
    "SQRT": torch.sqrt,
    "SQUARED_DIFFERENCE": lambda x, y: (x - y) ** 2,
    "STRIDED_SLICE": _strided_slice,
    "SUB": torch.sub,
    "SUM": lambda x, axes, keep_dims: x.sum(axes, keepdim=bool(keep_dims)),
    "TRANSPOSE": torch.permute,
}
