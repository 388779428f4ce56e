"""Export records: Hugging Face `.eval_results` files, and a flat CSV with a line per number."""

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from exprbench.core.errors import UserError
from exprbench.leaderboard.receipts import status_of
from exprbench.leaderboard.results import by_benchmark, long_csv
from exprbench.leaderboard.rows import Table, make_table
from exprbench.leaderboard.verification import load_verified
from exprbench.metrics import COLUMNS
from exprbench.records import Aggregate, ScoreRecord


def to_flat_csv(paths: Sequence[Path | str]) -> str:
    """Return CSV with a line per number of the records: printed, value, interval, number of videos and notes."""
    groups = by_benchmark([Path(path) for path in paths])
    return long_csv({title: _table(group) for title, group in groups.items()})


def _table(paths: Sequence[Path]) -> Table:
    records, statuses = [load_verified(path) for path in paths], [status_of(path) for path in paths]
    return make_table(records, extras=True, mix=True, statuses=statuses)


def to_eval_results(path: Path | str, *, dataset: str, url: str = "", extras: bool = False) -> str:
    """Return a record as YAML for `.eval_results/*.yaml` of a Hugging Face model: an entry per split, track and metric.

    The dataset must be registered as a benchmark there, with a task per entry, such as `single-self-lmd`. The notes
    hold the metric id and the unit, since the value is unscaled, the interval, and whether the record is verified.

    Args:
        path: record.
        dataset: id of the benchmark's dataset, such as `lab/exprbench`.
        url: page of the results.
        extras: all columns, instead of those of the paper's Table 1.

    Raises:
        UserError: the record cannot be read, or `dataset` is not an id.
    """
    if dataset.count("/") != 1 or not all(dataset.split("/")):
        raise UserError(f"the dataset is {dataset!r}; expected the id of a Hugging Face dataset, like lab/exprbench")
    record = load_verified(path)
    lines = []
    for group in record.groups:
        for name, aggregate in group.aggregates.items():
            metric = COLUMNS.get(name)
            if metric and (extras or group.track in metric.tracks):
                task = f"{group.split}-{group.track}-{name}"
                lines += _entry(record, aggregate, name, task, dataset, url, status_of(path))
    return "\n".join(lines) + "\n"


def _entry(
    record: ScoreRecord, aggregate: Aggregate, name: str, task: str, dataset: str, url: str, status: str
) -> list[str]:
    notes = f"{record.ids[name]}; {aggregate.num_videos} videos; {status}; benchmark {record.benchmark.sha256[:16]}"
    if aggregate.low is not None and aggregate.high is not None:
        notes += f"; 95 % interval {aggregate.low:.6g} to {aggregate.high:.6g}"
    started = record.timing.get("started_at")
    date = datetime.fromtimestamp(started, timezone.utc).date().isoformat() if started else ""
    lines = ["- dataset:", f"    id: {_text(dataset)}", f"    task_id: {_text(task)}", f"  value: {aggregate.value!r}"]
    lines += [f"  date: {_text(date)}"] if date else []
    lines += ["  source:", f"    url: {_text(url)}", '    name: "ExprBench"'] if url else []
    return [*lines, f"  notes: {_text(notes)}"]


def _text(text: str) -> str:
    """Return a YAML string: a JSON string is one."""
    return json.dumps(text, ensure_ascii=False)
