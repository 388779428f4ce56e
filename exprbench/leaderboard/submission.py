"""`submit`: check a record and file it under `results/records`."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exprbench import weights
from exprbench.benchmark import Benchmark
from exprbench.core.errors import UserError
from exprbench.core.files import atomic_path
from exprbench.leaderboard.receipts import receipt_path
from exprbench.leaderboard.verification import load_verified
from exprbench.metrics import COLUMNS
from exprbench.records import ScoreRecord, load_record
from exprbench.scoring.plan import method_file_name

# What a value can be at most and at least, for a video that a method generated; angles are in degrees or radians.
LIMITS = {
    "psnr": (0.0, 100.0),
    "ssim": (-1.0, 1.0),
    "lmd": (0.0, 2.0),
    "mae": (0.0, 180.0),
    "aed": (0.0, 2.0),
    "apd": (0.0, 6.3),
    "fid": (-1e-6, float("inf")),
    "fvd": (-1e-6, float("inf")),
}


@dataclass(frozen=True, kw_only=True)
class Submission:
    """The outcome of `submit`: the file under `results`, None if there are problems."""

    path: Path | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def submit(
    record: Path | str, *, results: Path | str = "results", benchmark: Path | str | None = None, replace: bool = False
) -> Submission:
    """Check a record and copy it to `results/records`, with its receipt if it has one.

    Args:
        record: file that `score` wrote.
        results: folder of stored results.
        benchmark: the record's benchmark; without it, its hash is only compared with those of filed records.
        replace: replace a record of the same method.

    Raises:
        UserError: the file is missing, not a record, or its numbers do not follow from its cases.
    """
    path, folder = Path(record), Path(results) / "records"
    loaded = load_verified(path)
    target = folder / f"{method_file_name(f'{loaded.benchmark.name}-{loaded.method}')}.json"
    problems = [*record_problems(loaded, benchmark)]
    if target.exists() and not replace:
        problems.append(f"{target} is filed already; pass --replace to replace it")
    warnings = tuple(record_warnings(loaded, folder, benchmark))
    if problems:
        return Submission(path=None, problems=tuple(problems), warnings=warnings)
    for source, copy in ((path, target), (receipt_path(path), receipt_path(target))):
        if source.is_file():
            with atomic_path(copy) as temporary:
                shutil.copyfile(source, temporary)
        else:
            copy.unlink(missing_ok=True)  # the receipt of a record that is replaced
    return Submission(path=target, problems=(), warnings=warnings)


def record_problems(record: ScoreRecord, benchmark: Path | str | None = None) -> Iterator[str]:
    """Yield what keeps a record from being filed, one line each: benchmark, weights, coverage, plausibility."""
    if benchmark is not None:
        yield from _benchmark_problems(record, Benchmark.open(benchmark))
    for name, sha256 in record.weights.items():
        published = weights.ALL[name].sha256 if name in weights.ALL else None
        if published is None:
            yield f"it names the model file {name!r}, which exprbench does not know"
        elif published and sha256 != published:
            yield f"its model file {name} is {sha256[:12]}, not the published one, {published[:12]}"
    for name in record.ids:
        if name not in COLUMNS:
            yield f"it has the column {name!r}, which exprbench does not know"
    if len(record.cases) < record.benchmark.num_cases:
        yield f"it has {len(record.cases)} of the benchmark's {record.benchmark.num_cases} cases; score all of them"
    yield from _implausible(record)


def _benchmark_problems(record: ScoreRecord, bench: Benchmark) -> Iterator[str]:
    if record.benchmark.sha256 != bench.sha256:
        yield f"its benchmark is {record.benchmark.sha256[:12]}; {bench.root} is {bench.sha256[:12]}"
        return
    unknown = {case.case_id for case in record.cases} ^ {case.case_id for case in bench.cases}
    if unknown:
        yield f"its cases are not those of {bench.root}: {min(unknown)} is only in one of them"


def _implausible(record: ScoreRecord) -> Iterator[str]:
    """Yield values that no video can have."""
    for case in record.cases:
        for name, value in case.values.items():
            low, high = LIMITS.get(name, (-float("inf"), float("inf")))
            if not low <= value <= high:
                yield f"{case.case_id}: {name} is {value:g}; expected {low:g} to {high:g}"
        if not 0 <= case.coverage <= 1 or not 0 <= (case.detect_rate or 0) <= 1:
            yield f"{case.case_id}: its coverage or detect rate is not between 0 and 1"
    for group in record.groups:
        for name, aggregate in group.aggregates.items():
            low, high = LIMITS.get(name, (-float("inf"), float("inf")))
            if not low <= aggregate.value <= high:
                yield f"{group.split} {group.track}: {name} is {aggregate.value:g}; expected {low:g} to {high:g}"


def record_warnings(record: ScoreRecord, folder: Path, benchmark: Path | str | None) -> Iterator[str]:
    """Yield what a reader of the leaderboard should know about a record, one line each."""
    if benchmark is None and record.benchmark.sha256 not in _filed_benchmarks(folder):
        yield "no filed record has the same benchmark; pass --benchmark to check its hash"
    for group in record.groups:
        if group.errors:
            errors = ", ".join(f"{count} {code}" for code, count in group.errors.items())
            yield f"{group.split} {group.track}: cases failed ({errors}); tables mark its numbers"
        for name, reason in group.unscored.items():
            if name in COLUMNS and not COLUMNS[name].is_extra and group.track in COLUMNS[name].tracks:
                yield f"{group.split} {group.track}: no {name} ({weights.brief_reason(reason)})"
    identical = [case.case_id for case in record.cases if case.values.get("psnr_identical", 0) == 1]
    if identical:
        yield f"{len(identical)} predictions equal their reference in every pixel, such as {identical[0]}"
    hashes = [case.prediction_sha256 for case in record.cases if case.prediction_sha256]
    if len(set(hashes)) < len(hashes):
        yield f"{len(hashes) - len(set(hashes))} predictions are copies of others"


def _filed_benchmarks(folder: Path) -> set[str]:
    found = set()
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            found.add(load_record(path).benchmark.sha256)
        except UserError:
            continue
    return found
