"""Score records as a pandas table."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from exprbench.leaderboard.verification import load_all
from exprbench.records import ScoreRecord

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    *("benchmark", "method", "split", "track", "metric", "id", "value", "low", "high", "num_videos"),
    *("coverage", "detect_rate"),
)


def frame(records: Iterable[ScoreRecord | Path | str] | ScoreRecord | Path | str) -> "pandas.DataFrame":
    """Return the aggregates of records as a pandas table with a row per method, split, track and metric.

        scores = exprbench.frame(["mine.json", "other.json"])
        scores.query("metric == 'lmd'").pivot(index="method", columns="split", values="value")

    Args:
        records: records, or paths of their files; a single one too.

    Raises:
        UserError: a file is missing, not a record, or its numbers do not follow from its cases.
    """
    import pandas as pd

    rows = [
        (
            *(record.benchmark.name, record.method, group.split, group.track, name, record.ids[name]),
            *(a.value, a.low, a.high, a.num_videos, group.coverage, group.detect_rate),
        )
        for record in load_all(records)
        for group in record.groups
        for name, a in group.aggregates.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
