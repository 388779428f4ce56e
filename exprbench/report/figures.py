"""Figures for papers, as PDF and PNG: bars with intervals, values of single cases, and radar charts."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.errors import UserError
from exprbench.leaderboard.rows import Cell, Column, Table
from exprbench.records import ScoreRecord
from exprbench.report.page_data import method_labels

COLOURS = ("#3b6fb6", "#d1782a", "#2f8f6b", "#b5485d", "#7a5fa8", "#8a6d3b", "#c45fa0", "#6b7785", "#9aa126", "#2c9db8")
DPI = 200
NAMES = {"Single": "single", "Multi": "multi"}
SUFFIXES = (".pdf", ".png")
MIN_AXES = 3


def write_figures(folder: Path, records: Sequence[ScoreRecord], table: Table) -> list[str]:
    """Write all figures and return the names of their files.

    bars_SPLIT      every column of the table, with its 95 % interval
    cases_SPLIT     the values of all cases, one panel per column
    radar_SPLIT     all columns, each from the worst (0) to the best (1) of the methods

    Equal records give equal files.

    Raises:
        UserError: matplotlib is not installed.
    """
    _require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    labels, names = method_labels(records), []
    for dataset, split in NAMES.items():
        of_split = [i for i, record in enumerate(records) if any(g.split == split for g in record.groups)]
        cells = dict(zip(of_split, [row.cells for row in table.rows if row.dataset == dataset], strict=True))
        columns = [c for c in table.columns if any(row[c.key].aggregate for row in cells.values())]
        drawings: dict[str, Callable[[], Any]] = {
            f"bars_{split}": lambda columns=columns, cells=cells: _panels(columns, cells, labels, _draw_bars),
            f"cases_{split}": lambda columns=columns, split=split: _cases(columns, records, split, labels),
            f"radar_{split}": lambda columns=columns, cells=cells: _radar(columns, cells, labels),
        }
        for name, draw in drawings.items() if columns else ():
            figure = draw()
            if figure is not None:
                names += _save(figure, folder / name)
    return names


def _require_matplotlib() -> None:
    if find_spec("matplotlib") is None:
        raise UserError("figures need matplotlib, which is not installed; pip install exprbench[figures]")


def _save(figure: Any, path: Path) -> list[str]:
    for suffix in SUFFIXES:
        metadata = {"CreationDate": None} if suffix == ".pdf" else {"Software": None}
        figure.savefig(path.with_suffix(suffix), dpi=DPI, bbox_inches="tight", metadata=metadata)
    return [path.with_suffix(suffix).name for suffix in SUFFIXES]


def _figure(num_panels: int, height: float) -> tuple[Any, list[Any]]:
    """Return a figure that is drawn without a display, and its panels, up to five in a row."""
    from matplotlib.figure import Figure

    columns = min(num_panels, 5)
    rows = -(-num_panels // columns)
    figure = Figure(figsize=(2.2 * columns, height * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes[num_panels:]:
        axis.set_visible(False)
    for axis in axes[:num_panels]:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=7)
    return figure, list(axes[:num_panels])


def _title(column: Column) -> str:
    arrow = "\u2191" if column.metric.higher_is_better else "\u2193"
    unit = f" ({column.metric.unit})" if column.metric.unit else ""
    return f"{column.track} {column.title} {arrow}{unit}"


def _legend(figure: Any, labels: Sequence[str], methods: Sequence[int]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=_colour(i), label=_plain(labels[i])) for i in methods]
    columns = min(len(methods), 5)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=7, frameon=False)


def _colour(method: int) -> str:
    return COLOURS[method % len(COLOURS)]


def _plain(text: str) -> str:
    """Return a text in which matplotlib finds no formula, and whose first character does not hide it from a legend."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


Cells = dict[int, dict[str, Cell]]


def _panels(
    columns: Sequence[Column], cells: Cells, labels: Sequence[str], draw: Callable[[Any, Column, Cells], None]
) -> Any:
    figure, axes = _figure(len(columns), 2.0)
    for axis, column in zip(axes, columns, strict=True):
        draw(axis, column, cells)
        axis.set_title(_title(column), fontsize=8)
        axis.set_xticks([])
    _legend(figure, labels, list(cells))
    return figure


def _draw_bars(axis: Any, column: Column, cells: Cells) -> None:
    scale = column.metric.table_scale
    for place, (method, row) in enumerate(cells.items()):
        aggregate = row[column.key].aggregate
        if aggregate is None:
            continue
        axis.bar(place, aggregate.value * scale, color=_colour(method), width=0.8)
        if aggregate.low is not None and aggregate.high is not None:
            low, high = aggregate.low * scale, aggregate.high * scale
            axis.vlines(place, low, high, color="black", linewidth=0.8)
            axis.hlines([low, high], place - 0.15, place + 0.15, color="black", linewidth=0.8)


def _cases(columns: Sequence[Column], records: Sequence[ScoreRecord], split: str, labels: Sequence[str]) -> Any:
    """Return panels with a point per case and a line at each method's median; None if no column has cases."""
    per_case = [column for column in columns if column.metric.per == "case"]
    if not per_case:
        return None
    figure, axes = _figure(len(per_case), 2.0)
    shown = [i for i, record in enumerate(records) if any(g.split == split for g in record.groups)]
    for axis, column in zip(axes, per_case, strict=True):
        for place, method in enumerate(shown):
            _draw_points(axis, place, _values(records[method], split, column), _colour(method))
        axis.set_title(_title(column), fontsize=8)
        axis.set_xticks([])
    _legend(figure, labels, shown)
    return figure


def _values(record: ScoreRecord, split: str, column: Column) -> np.ndarray:
    name, scale = column.metric.name, column.metric.table_scale
    cases = [c for c in record.cases if (c.split, c.track) == (split, column.track) and name in c.values]
    return np.array([case.values[name] * scale for case in cases])


def _draw_points(axis: Any, place: int, values: np.ndarray, colour: str) -> None:
    if not len(values):
        return
    spread = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.6  # the golden ratio spreads neighbours, without chance
    axis.scatter(place + spread, values, s=6, color=colour, alpha=0.6, linewidths=0)
    axis.hlines(np.median(values), place - 0.35, place + 0.35, color="black", linewidth=1)


def _radar(columns: Sequence[Column], cells: Cells, labels: Sequence[str]) -> Any:
    """Return a radar chart over the columns that every method has; None if there are fewer than three or one method."""
    from matplotlib.figure import Figure

    axes = [column for column in columns if all(row[column.key].aggregate for row in cells.values())]
    if len(axes) < MIN_AXES or len(cells) < 2:
        return None
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    chart = figure.add_subplot(projection="polar")
    angles = np.linspace(0, 2 * np.pi, len(axes), endpoint=False)
    scores = np.array([[_goodness(column, row) for column in axes] for row in cells.values()])
    low, high = scores.min(0), scores.max(0)
    shares = np.where(high > low, (scores - low) / np.where(high > low, high - low, 1), 1)
    for method, share in zip(cells, shares, strict=True):
        closed = np.append(share, share[0])
        chart.plot(np.append(angles, angles[0]), closed, color=_colour(method), linewidth=1.2)
        chart.fill(angles, share, color=_colour(method), alpha=0.08)
    chart.set_xticks(angles, [_title(column) for column in axes], fontsize=7)
    for label, angle in zip(chart.get_xticklabels(), angles, strict=True):
        side = np.cos(angle)
        label.set_horizontalalignment("center" if abs(side) < 0.3 else "left" if side > 0 else "right")
    chart.set_yticks([0, 0.5, 1], ["", "", ""])
    _legend(figure, labels, list(cells))
    return figure


def _goodness(column: Column, row: dict[str, Cell]) -> float:
    value = row[column.key].aggregate.value  # type: ignore[union-attr]
    return value if column.metric.higher_is_better else -value
