"""`compare`: paired differences between two methods, with intervals and a test corrected for their number."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from exprbench.core.errors import UserError
from exprbench.core.files import dump_json
from exprbench.leaderboard.comparability import find_incomparable
from exprbench.leaderboard.rendering import NOTHING, arrow, csv_cell, md_escape, md_lines, unit_suffix
from exprbench.leaderboard.rows import DATASETS, Column, paper_columns
from exprbench.leaderboard.ties import difference_of_sets, is_below_floor, paired_differences
from exprbench.leaderboard.verification import load_verified
from exprbench.metrics.intervals import mean_interval
from exprbench.records import ScoreRecord

EXACT_UP_TO = 14  # 2^14 sign flips
NUM_FLIPS = 20_000
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The mean difference B - A of a column over the videos that both methods have, unscaled.

    Attributes:
        num_videos: number of common videos.
        p: probability of a mean difference at least as large if the methods were equal, by flipping signs; None for
            distances between sets, and for fewer than two videos.
        p_corrected: `p` after the correction of Holm for all comparisons of the call.
        better: the better method if the corrected test, or for sets the interval, shows one; empty otherwise.
    """

    dataset: str
    track: str
    metric: str
    num_videos: int
    value_a: float
    value_b: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_corrected: float | None = None
    better: str = ""


def compare(a: ScoreRecord | Path | str, b: ScoreRecord | Path | str, *, mix: bool = False) -> list[Difference]:
    """Return the differences between two methods in every column of the paper's Table 1 that both have.

    Methods are scored on the same videos, so differences are taken video by video: 95 % intervals are those of their
    mean. The test flips the signs of the differences (all 2^n flips up to 14 videos, 20,000 seeded ones beyond), and
    Holm's correction holds the probability of any false finding at 5 %.

    Args:
        a, b: records, or paths of their files.
        mix: allow records of different protocols, benchmarks, weights or versions.

    Raises:
        UserError: a record cannot be read, they cannot be compared, or have no number in common.
    """
    records = [load_verified(record) for record in (a, b)]
    find_incomparable(records, mix)
    found = [_difference(records, split, column) for split in DATASETS for column in paper_columns()]
    differences = [difference for difference in found if difference]
    if not differences:
        raise UserError(f"{records[0].method} and {records[1].method} have no number in common; score the same columns")
    return _decide(differences, records)


def _difference(records: Sequence[ScoreRecord], split: str, column: Column) -> Difference | None:
    name = column.metric.name
    groups = [record.group(split, column.track) for record in records]
    sides = [group.aggregates[name] for group in groups if group and name in group.aggregates]
    if len(sides) < 2:
        return None
    a, b = sides
    if column.metric.per == "group":
        low, high = difference_of_sets(b, a) if a.influence and b.influence else (None, None)
        difference, num_videos, p = b.value - a.value, min(a.num_videos, b.num_videos), None
    else:
        per_video = paired_differences(records[1], records[0], split, column.track, name)
        if not len(per_video):
            return None
        low, high = mean_interval(per_video)
        difference, num_videos, p = float(per_video.mean()), len(per_video), sign_flip_p(per_video)
    return Difference(
        dataset=DATASETS[split],
        track=column.track,
        metric=name,
        num_videos=num_videos,
        value_a=a.value,
        value_b=b.value,
        difference=difference,
        low=low,
        high=high,
        p=p,
    )


def sign_flip_p(differences: np.ndarray) -> float | None:
    """Return the two-sided p value of a mean difference, from flips of the signs of (n,) differences."""
    n = len(differences)
    if n < 2:
        return None
    if n <= EXACT_UP_TO:
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        return float((_means(signs, differences) >= abs(differences.mean()) * (1 - 1e-12)).mean())
    signs = np.random.default_rng(0).choice((-1, 1), size=(NUM_FLIPS, n))
    as_large = (_means(signs, differences) >= abs(differences.mean()) * (1 - 1e-12)).sum()
    return float((as_large + 1) / (NUM_FLIPS + 1))


def _means(signs: np.ndarray, differences: np.ndarray) -> np.ndarray:
    return np.abs(signs @ differences) / len(differences)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values after Holm's correction for their number, in the order given."""
    order = np.argsort(p_values, kind="stable")
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def _decide(differences: Sequence[Difference], records: Sequence[ScoreRecord]) -> list[Difference]:
    tested = [i for i, d in enumerate(differences) if d.p is not None]
    corrected = dict(zip(tested, holm([differences[i].p for i in tested]), strict=True))  # type: ignore[misc]
    decided = []
    for i, difference in enumerate(differences):
        found = replace(difference, p_corrected=corrected.get(i))
        decided.append(replace(found, better=_better(found, records)))
    return decided


def _better(found: Difference, records: Sequence[ScoreRecord]) -> str:
    """Return the better method, empty if the data do not show it."""
    column = next(c for c in paper_columns() if (c.track, c.metric.name) == (found.track, found.metric))
    split = next(split for split, name in DATASETS.items() if name == found.dataset)
    sides = [record.group(split, found.track).aggregates[found.metric] for record in records]  # type: ignore[union-attr]
    if not column.metric.higher_is_better and is_below_floor(*sides):
        return ""
    if found.p is None:
        shown = found.low is not None and found.high is not None and not found.low <= 0 <= found.high
    else:
        shown = found.p_corrected is not None and found.p_corrected < LEVEL
    b_is_better = (found.difference > 0) == column.metric.higher_is_better
    return records[int(b_is_better)].method if shown else ""


def comparison_text(differences: Sequence[Difference], names: tuple[str, str], format: str = "md") -> str:
    """Return differences as `md`, `csv` or `json`; Markdown is in units of the table."""
    if format == "json":
        return dump_json([asdict(difference) for difference in differences])
    if format == "csv":
        return _to_csv(differences)
    columns = {(c.track, c.metric.name): c for c in paper_columns()}
    head = ["Dataset", "Column", *map(md_escape, names), "B - A", "95 % interval", "videos", "p, corrected", "better"]
    lines = [head, *(_md_row(d, columns[d.track, d.metric]) for d in differences)]
    about = (
        f"A is {md_escape(names[0])}, B is {md_escape(names[1])}. Differences are paired by video. p: sign flips, with"
        " Holm's correction; FID and FVD have an interval only. Better: p below 0.05, or an interval without 0, and"
        " a difference above the noise floor."
    )
    return "\n".join([*md_lines(lines), "", about]) + "\n"


def _md_row(d: Difference, column: Column) -> list[str]:
    def scaled(value: float) -> str:
        return f"{value * column.metric.table_scale:.{column.metric.decimals}f}"

    interval = f"{scaled(d.low)} to {scaled(d.high)}" if d.low is not None and d.high is not None else NOTHING
    title = f"{d.track.capitalize()} {column.title}{arrow(column)}{unit_suffix(column)}"
    p = NOTHING if d.p_corrected is None else f"{d.p_corrected:.3g}"
    numbers = [scaled(d.value_a), scaled(d.value_b), scaled(d.difference), interval, str(d.num_videos), p]
    return [d.dataset, title, *numbers, md_escape(d.better) or NOTHING]


def _to_csv(differences: Sequence[Difference]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, asdict(differences[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(d), "better": csv_cell(d.better)} for d in differences)
    return text.getvalue()
