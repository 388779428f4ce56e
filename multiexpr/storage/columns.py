"""Scores of many clips as columns: numbers, and lists of numbers of any length, without a loop over clips."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Lists:
    """One list a clip: `values` (V,) of all clips one after the other, and `starts` (N + 1,), where each begins."""

    values: np.ndarray
    starts: np.ndarray

    @property
    def owners(self) -> np.ndarray:
        """(V,) number of the clip each value is of."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def count(self, mask: np.ndarray) -> np.ndarray:
        """(N,) how many of each clip's values a (V,) mask takes."""
        return np.bincount(self.owners[mask], minlength=len(self.starts) - 1)

    def nth_largest(self, n: int, mask: np.ndarray) -> np.ndarray:
        """(N,) the n-th largest of each clip's values within a (V,) mask; NaN where there are fewer."""
        owners, values = self.owners[mask], self.values[mask]
        known = ~np.isnan(values)
        owners, values = owners[known], values[known]
        order = np.lexsort((-values, owners))
        owners, values = owners[order], values[order]
        first = np.searchsorted(owners, np.arange(len(self.starts) - 1))
        rank = np.arange(len(owners)) - first[owners]
        found = np.full(len(self.starts) - 1, np.nan)
        found[owners[rank == n - 1]] = values[rank == n - 1]
        return found


Column = np.ndarray | Lists
Columns = Mapping[str, Column]


def from_table(table: pa.Table) -> dict[str, Column]:
    """Numeric columns (N,) float64 with null as NaN, and lists of numbers; other columns are left out."""
    columns: dict[str, Column] = {}
    for name in table.column_names:
        array = table[name].combine_chunks()
        kind = array.type
        if pa.types.is_list(kind):
            columns[name] = _lists(array)
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            columns[name] = _numbers(array)
    return columns


def _numbers(array: pa.Array) -> np.ndarray:
    return array.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)


def _lists(array: pa.ListArray) -> Lists:
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    lengths = np.nan_to_num(array.value_lengths().to_numpy(zero_copy_only=False), nan=0).astype(np.int64)
    return Lists(_numbers(array.flatten()), np.concatenate([[0], np.cumsum(lengths)]))


def from_row(row: Mapping[str, Any]) -> dict[str, Column]:
    """The same for one clip."""
    columns: dict[str, Column] = {}
    for name, value in row.items():
        if isinstance(value, list):
            values = np.array([np.nan if v is None else v for v in value], np.float64)
            columns[name] = Lists(values, np.array([0, len(values)]))
        elif isinstance(value, (int, float)) or value is None:
            columns[name] = np.array([np.nan if value is None else float(value)])
    return columns
