"""Tensors in files, read one at a time: safetensors, and pickles that contain only tensors."""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exprbench.core.errors import UserError

PICKLES = {".ckpt", ".pth", ".pt", ".bin"}
_SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class Tensors(Mapping[str, Tensor]):
    """Lazy state dict: named tensors in files or in memory, read on access.

    Nested dicts of a checkpoint are flattened: `{"a": {"b": t}}` becomes `a.b`. `source` is the file or folder, for
    error messages.
    """

    def __init__(self, readers: Mapping[str, Any], source: str) -> None:
        self._readers = dict(readers)
        self.source = source

    def __getitem__(self, name: str) -> Tensor:
        reader = self._readers[name]
        return reader if isinstance(reader, Tensor) else reader.tensor()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape from the file's header."""
        return tuple(self._readers[name].shape)

    def dtype(self, name: str) -> torch.dtype:
        """Return a tensor's data type from the file's header."""
        return self._readers[name].dtype

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all tensors, by name."""
        return {name: self.shape(name) for name in self}

    def rename(self, names: Mapping[str, str]) -> "Tensors":
        """Return the tensors whose old names are keys of `names`, under the new names."""
        return Tensors({new: self._readers[old] for old, new in names.items()}, self.source)

    def select_prefix(self, prefix: str) -> "Tensors":
        """Return the tensors whose names begin with `prefix`, under the rest of their names."""
        return self.rename({name: name[len(prefix) :] for name in self if name.startswith(prefix)})


class _SafetensorsReader:
    """Reader of one tensor of an open safetensors file."""

    def __init__(self, file: Any, name: str) -> None:
        self.file, self.name = file, name
        header = file.get_slice(name)
        self.shape = tuple(header.get_shape())
        self.dtype = _SAFETENSORS_DTYPES.get(str(header.get_dtype()), torch.uint8)

    def tensor(self) -> Tensor:
        return self.file.get_tensor(self.name)


def open_tensors(*paths: Path) -> Tensors:
    """Open the tensors of one file, or of several shards.

    Raises:
        UserError: a file is missing, empty or truncated, or is not a checkpoint of tensors only.
    """
    readers: dict[str, Any] = {}
    for path in paths:
        if not path.is_file():
            raise UserError(f"there is no file {path}")
        if not path.stat().st_size:
            raise UserError(f"{path} is empty; download it again")
        readers.update(_open_pickle(path) if path.suffix in PICKLES else _open_safetensors(path))
    return Tensors(readers, str(paths[0]) if len(paths) == 1 else str(paths[0].parent))


def _open_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a complete safetensors file ({error}); download it again") from error
    return {name: _SafetensorsReader(file, name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)


def _open_pickle(path: Path) -> dict[str, Tensor]:
    try:
        loaded = _load(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path} is truncated or not a checkpoint of tensors only ({reason}); download it again"
        ) from error
    tensors = dict(_flatten(loaded))
    if not tensors:
        raise UserError(f"{path} contains no tensors; expected a checkpoint")
    return tensors


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # written before torch 1.6: cannot be mapped


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix, value.detach()
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flatten(inner, f"{prefix}.{name}" if prefix else str(name))


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically."""
    from safetensors.torch import save_file

    from exprbench.core.files import atomic_path

    with atomic_path(path) as temporary:
        save_file(
            {name: t.contiguous() for name, t in tensors.items()},
            temporary,
            metadata={"format": "pt", **(metadata or {})},
        )
