"""Columns of the scores of many clips: numbers, and lists of numbers of varying length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class ListColumn:
    """Column with a list of numbers per clip.

    Attributes:
        values: (V,) numbers of all clips, concatenated.
        starts: (N + 1,) offset in `values` of each clip's list, and V.
    """

    values: np.ndarray
    starts: np.ndarray

    @property
    def clip_index(self) -> np.ndarray:
        """Return the index of the clip of each value, (V,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def count(self, mask: np.ndarray) -> np.ndarray:
        """Return the number of each clip's values that a (V,) mask selects, (N,)."""
        return np.bincount(self.clip_index[mask], minlength=len(self.starts) - 1)

    def nth_largest(self, n: int, mask: np.ndarray) -> np.ndarray:
        """Return the n-th largest of each clip's values that a (V,) mask selects, (N,); NaN if there are fewer."""
        index = self.nth_largest_index(n, mask)
        return np.where(index >= 0, np.append(self.values, np.nan)[index], np.nan)

    def nth_largest_index(self, n: int | np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return where in `values` the n-th largest of each clip's selected values is, (N,); -1 if there are fewer.

        `n` is one number, or a number per clip (N,).
        """
        selected = np.flatnonzero(mask & ~np.isnan(self.values))
        clip_index = self.clip_index[selected]
        order = np.lexsort((-self.values[selected], clip_index))
        selected, clip_index = selected[order], clip_index[order]
        first = np.searchsorted(clip_index, np.arange(len(self.starts) - 1))
        rank = np.arange(len(clip_index)) - first[clip_index]
        result = np.full(len(self.starts) - 1, -1)
        is_nth = rank == np.resize(n, len(result))[clip_index] - 1
        result[clip_index[is_nth]] = selected[is_nth]
        return result

    def take(self, mask: np.ndarray) -> "ListColumn":
        """Return the lists of the clips that an (N,) mask selects."""
        lengths = np.diff(self.starts)
        return ListColumn(self.values[mask[self.clip_index]], np.concatenate([[0], np.cumsum(lengths[mask])]))


Column = np.ndarray | ListColumn
Columns = Mapping[str, Column]


def take(columns: Columns, mask: np.ndarray) -> dict[str, Column]:
    """Return the columns of the clips that an (N,) mask selects."""
    return {name: c.take(mask) if isinstance(c, ListColumn) else c[mask] for name, c in columns.items()}


def concatenate(parts: Sequence[Columns]) -> dict[str, Column]:
    """Return the columns of all clips of several parts, in order."""
    return {name: _concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _concatenate(columns: Sequence[Column]) -> Column:
    if not isinstance(columns[0], ListColumn):
        return np.concatenate(columns)
    lengths = np.concatenate([np.diff(column.starts) for column in columns])
    values = np.concatenate([column.values for column in columns])
    return ListColumn(values, np.concatenate([[0], np.cumsum(lengths)]))


def from_table(table: pa.Table) -> dict[str, Column]:
    """Return the columns of a table: numbers as (N,) float64 with NaN for null, and lists; others are skipped."""
    columns: dict[str, Column] = {}
    for name in table.column_names:
        array = table[name].combine_chunks()
        dtype = array.type
        if pa.types.is_list(dtype):
            columns[name] = _lists(array)
        elif pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype):
            columns[name] = _numbers(array)
    return columns


def _numbers(array: pa.Array) -> np.ndarray:
    return array.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)


def _lists(array: pa.ListArray) -> ListColumn:
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    lengths = np.nan_to_num(array.value_lengths().to_numpy(zero_copy_only=False), nan=0).astype(np.int64)
    return ListColumn(_numbers(array.flatten()), np.concatenate([[0], np.cumsum(lengths)]))


def from_row(row: Mapping[str, Any]) -> dict[str, Column]:
    """Return the columns of one clip; see `from_table`."""
    columns: dict[str, Column] = {}
    for name, value in row.items():
        if isinstance(value, list):
            values = np.array([np.nan if v is None else v for v in value], np.float64)
            columns[name] = ListColumn(values, np.array([0, len(values)]))
        elif isinstance(value, (int, float)) or value is None:
            columns[name] = np.array([np.nan if value is None else float(value)])
    return columns
