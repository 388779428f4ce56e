"""The section of docs/metrics.md with floors, responses to damage and recovery of known truth, and its plots."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.damage_truth import COLUMNS as RECOVERED
from exprbench.core.files import write_text
from exprbench.metrics import COLUMNS, Metric

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
PLOTS = {kind: PAGE.parent / f"damage_{kind}.png" for kind in ("drawn", "filmed")}
START = "<!-- Measured: `python -m benchmarks.damage --write` replaces everything up to the end mark. -->"
END = "<!-- End of what is measured. -->"
PER_ROW, DPI, NUM_COLOURS = 6, 80, 64


def plot(measured: dict[str, Any], path: Path) -> None:
    """Draw a panel per column: its response to each damage, from 0 (a copy) to 1 (its worst value), and its floor."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    names = [name for name in COLUMNS if name in measured["copy"] and _scale(measured, name)]
    num_rows = math.ceil(len(names) / PER_ROW)
    figure, axes = pyplot.subplots(
        num_rows, PER_ROW, figsize=(14, 1.75 * num_rows + 0.6), sharex=True, sharey=True, squeeze=False
    )
    colours = pyplot.get_cmap("tab10")
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    for axis, name in zip(axes.flat, names, strict=False):
        for i, (damage, found) in enumerate(measured["damages"].items()):
            values = [_response(measured, name, value) for value in found["values"][name]]
            axis.plot(range(6), [0.0, *values], color=colours(i), lw=1, marker=".", ms=3, label=damage)
        if name in measured["floors"]:
            axis.axhline(_response(measured, name, measured["floors"][name]), color="0.4", ls="--", lw=0.8)
        axis.set_title(name, fontsize=9)
        axis.set_ylim(-0.25, 1.08)
        axis.tick_params(labelsize=7)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.5 / (1.75 * num_rows + 0.6), 1, 1))
    figure.savefig(path, dpi=DPI)
    pyplot.close(figure)
    _reduce_colours(path)


def _reduce_colours(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(NUM_COLOURS)
    reduced.save(path, optimize=True)


def _scale(measured: dict[str, Any], name: str) -> float:
    """Return the largest change of a column from a copy's value, 0 if nothing changes it."""
    values = [v for found in measured["damages"].values() for v in found["values"][name] if v is not None]
    return max((abs(v - measured["copy"][name]) for v in values), default=0.0)


def _response(measured: dict[str, Any], name: str, value: float | None) -> float:
    """Return the change from a copy's value to a worse one, as a share of the largest; NaN if there is no value."""
    if value is None:
        return float("nan")
    sign = -1 if COLUMNS[name].higher_is_better else 1
    return sign * (value - measured["copy"][name]) / _scale(measured, name)


def write_page(page: Path, measured: dict[str, Any]) -> None:
    """Replace the part of a page between the marks."""
    text = page.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    write_text(page, f"{before}{START}\n\n" + "\n\n".join(section(measured)) + f"\n\n{END}{after}")


def section(measured: dict[str, Any]) -> Iterable[str]:
    """Yield the paragraphs and tables of the measurements."""
    kinds = [kind for kind in PLOTS if kind in measured]
    subjects = " and ".join(f"{measured[kind]['num_videos']} {kind} videos" for kind in kinds)
    yield f"Measured on {subjects} of {measured['num_frames']} frames, with `python -m benchmarks.damage`."
    yield _floors(measured, kinds)
    missing = _names(measured["not_measured"])
    yield f"Not measured, because a model file was missing or the column is of the profile `paper`: {missing}."
    yield from (f"![Responses of each column on {kind} videos]({PLOTS[kind].name})" for kind in kinds)
    yield _strengths(measured, kinds)
    yield "What MediaPipe reads from drawn faces, compared with the truth (errors; for `follow_*` correlations):"
    yield _recovery(measured["recovery"])
    yield "Damages of drawn faces, the true value of the column, and the value that is read:"
    yield _true(measured)


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _floors(measured: dict[str, Any], kinds: Sequence[str]) -> str:
    head = ["column", "unit", *(f"{kind}: {what}" for kind in kinds for what in ("floor", "copy"))]
    names = [name for name in COLUMNS if any(name in measured[kind]["copy"] for kind in kinds)]
    rows = [
        [
            f"`{name}`",
            COLUMNS[name].unit,
            *(_number(name, measured[kind][part].get(name)) for kind in kinds for part in ("floors", "copy")),
        ]
        for name in names
    ]
    return _markdown(head, rows)


def _strengths(measured: dict[str, Any], kinds: Sequence[str]) -> str:
    rows = [
        [name, damage["unit"], ", ".join(f"{x:g}" for x in damage["strengths"])]
        for name, damage in measured[kinds[0]]["damages"].items()
    ]
    return _markdown(["damage", "unit", "strengths 1 to 5"], rows)


def _recovery(errors: dict[str, dict[str, float]]) -> str:
    rows = []
    for name in RECOVERED:
        values = [of_person[name] for of_person in errors.values()]
        mean = _number(name, sum(values) / len(values))
        rows.append([f"`{name}`", COLUMNS[name].unit, *(_number(name, value) for value in values), mean])
    return _markdown(["column", "unit", *errors, "mean"], rows)


def _true(measured: dict[str, Any]) -> str:
    rows = []
    for damage, columns in measured["true"].items():
        found = measured["drawn"]["damages"][damage]
        for name, true in columns.items():
            pairs = zip(true, found["values"][name], strict=True)
            cells = [f"{_number(name, a)}, {_number(name, b)}" for a, b in pairs]
            rows.append([damage, f"`{name}`", COLUMNS[name].unit, *cells])
    return _markdown(["damage", "column", "unit", *(f"strength {i}: true, read" for i in range(1, 6))], rows)


def _number(name: str, value: float | None) -> str:
    metric: Metric = COLUMNS[name]
    return "" if value is None else f"{value * metric.table_scale:.{max(3, metric.decimals)}g}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines)
