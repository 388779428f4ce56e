"""Read the graph of a .tflite file: a FlatBuffer of the tables in TensorFlow Lite's schema, version 3.

The numbers of fields, types and operations below are those of the schema, which never change.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from exprbench.core.errors import UserError

REMEDY = "which the face engine torch cannot read; use mediapipe"
DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}
OPERATIONS = {
    **{0: "ADD", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE", 14: "LOGISTIC"},
    **{17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 22: "RESHAPE", 34: "PAD", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB"},
    **{42: "DIV", 45: "STRIDED_SLICE", 54: "PRELU", 59: "NEG", 74: "SUM", 75: "SQRT", 76: "RSQRT"},
    **{99: "SQUARED_DIFFERENCE"},
}
# Fields of the options by kind, in the order of the schema, with the code of their type in `struct`; "*" is a vector.
OPTIONS = {
    "CONV_2D": ("padding:B", "stride_x:i", "stride_y:i", "activation:B"),
    "DEPTHWISE_CONV_2D": ("padding:B", "stride_x:i", "stride_y:i", "multiplier:i", "activation:B"),
    "MAX_POOL_2D": ("padding:B", "stride_x:i", "stride_y:i", "width:i", "height:i", "activation:B"),
    "CONCATENATION": ("axis:i", "activation:B"),
    "RESHAPE": ("shape:*",),
    "MEAN": ("keep_dims:B",),
    "SUM": ("keep_dims:B",),
    "STRIDED_SLICE": ("begin_mask:i", "end_mask:i", "ellipsis_mask:i", "new_axis_mask:i", "shrink_axis_mask:i"),
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV"), ("activation:B",)),
}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Operation of a graph on tensors, which are numbered; `options` are the fields of its kind in `OPTIONS`."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Operations in the order in which they run, constants by the number of their tensor, inputs and outputs."""

    operations: tuple[Operation, ...]
    constants: dict[int, np.ndarray]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class _Table:
    """Table of a FlatBuffer; its first entry refers to a list of the offsets of its fields, 0 for absent ones."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def _read(self, kind: str, at: int) -> Any:
        return struct.unpack_from(f"<{kind}", self.data, at)[0]

    def _field(self, number: int) -> int:
        fields = self.at - self._read("i", self.at)
        entry = 4 + 2 * number
        offset = self._read("H", fields + entry) if entry < self._read("H", fields) else 0
        return offset and self.at + offset

    def _vector(self, number: int) -> tuple[int, int]:
        """Return the place and the length of the vector that a field refers to."""
        field = self._field(number)
        if not field:
            return 0, 0
        at = field + self._read("I", field)
        return at + 4, self._read("I", at)

    def number(self, number: int, kind: str) -> int:
        field = self._field(number)
        return self._read(kind, field) if field else 0

    def table(self, number: int) -> "_Table | None":
        field = self._field(number)
        return _Table(self.data, field + self._read("I", field)) if field else None

    def tables(self, number: int) -> list["_Table"]:
        start, length = self._vector(number)
        places = range(start, start + 4 * length, 4)
        return [_Table(self.data, place + self._read("I", place)) for place in places]

    def array(self, number: int, dtype: Any) -> np.ndarray:
        start, length = self._vector(number)
        return np.frombuffer(self.data, dtype, length, start)


def read_graph(data: bytes) -> Graph:
    """Return the graph in the bytes of a .tflite file.

    Raises:
        UserError: an operation or a type of numbers is not known here.
    """
    model = _Table(data, struct.unpack_from("<I", data)[0])
    kinds = [_kind(code) for code in model.tables(1)]
    (graph,), buffers = model.tables(2), model.tables(4)
    constants = {i: array for i, t in enumerate(graph.tables(0)) if (array := _constant(t, buffers)) is not None}
    return Graph(
        operations=tuple(_operation(table, kinds) for table in graph.tables(3)),
        constants=constants,
        inputs=tuple(graph.array(1, np.int32).tolist()),
        outputs=tuple(graph.array(2, np.int32).tolist()),
    )


def _kind(code: _Table) -> str:
    number = max(code.number(0, "b"), code.number(3, "i"))  # the schema first had room for 127 kinds
    if number not in OPERATIONS:
        raise UserError(f"the face model has operation {number} of TensorFlow Lite, {REMEDY}")
    return OPERATIONS[number]


def _constant(tensor: _Table, buffers: list[_Table]) -> np.ndarray | None:
    data, dtype = buffers[tensor.number(2, "I")].array(0, np.uint8), tensor.number(1, "b")
    if not len(data):
        return None
    if dtype not in DTYPES:
        raise UserError(f"the face model has numbers of type {dtype} of TensorFlow Lite, {REMEDY}")
    return data.view(DTYPES[dtype]).reshape(tensor.array(0, np.int32))


def _operation(table: _Table, kinds: list[str]) -> Operation:
    kind, options = kinds[table.number(0, "I")], table.table(4)
    names = [name.split(":") for name in OPTIONS.get(kind, ())]
    return Operation(
        kind=kind,
        inputs=tuple(table.array(1, np.int32).tolist()),
        outputs=tuple(table.array(2, np.int32).tolist()),
        options={name: _option(options, i, code) for i, (name, code) in enumerate(names)},
    )


def _option(options: _Table | None, number: int, code: str) -> Any:
    if options is None:
        return 0
    return options.array(number, np.int32).tolist() if code == "*" else options.number(number, code)
