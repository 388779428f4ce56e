"""Convert arrays to bytes and back: `.npy` and `.npz` without pickles. Equal arrays give equal bytes."""

import io
from collections.abc import Mapping

import numpy as np


def pack_array(array: np.ndarray) -> bytes:
    """Return an array as the bytes of a `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def unpack_array(data: bytes) -> np.ndarray:
    """Return the array in the bytes of a `.npy` file."""
    return np.load(io.BytesIO(data), allow_pickle=False)


def pack_arrays(arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> bytes:
    """Return named arrays as the bytes of a `.npz` file."""
    buffer = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(buffer, **arrays)
    return buffer.getvalue()


def unpack_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Return the named arrays in the bytes of a `.npz` file."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
