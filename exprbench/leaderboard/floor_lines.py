"""The line below a table that gives the noise floor of each number."""

from collections.abc import Iterable, Sequence

from exprbench.metrics import Metric
from exprbench.records import ScoreRecord


def floor_lines(records: Sequence[ScoreRecord], columns: Sequence[tuple[str, Metric]]) -> Iterable[str]:
    """Yield a line with the floors of the columns, given as (track, metric), or none if no record has any.

    Floors depend on the benchmark and the settings only, so those of any record of a table hold for all.
    """
    found = {}
    for group in (group for record in records for group in record.groups):
        for track, metric in columns:
            aggregate = group.aggregates.get(metric.name)
            if track == group.track and aggregate and aggregate.floor is not None:
                name = f"{group.split} {track} {metric.title}"
                found[name] = f"{aggregate.floor * metric.table_scale:.{metric.decimals}f}"
    if found:
        values = ", ".join(f"{name} {value}" for name, value in found.items())
        yield f"Noise floor (the benchmark's own videos, measured twice): {values}."
