"""`verify`: hold the predictions of a folder against their run records."""

from collections import Counter
from pathlib import Path

from baselines.run_record import RunRecord, is_intact, load_run, prediction_path
from exprbench.benchmark import Benchmark
from exprbench.core.errors import ItemError, UserError
from exprbench.media import probe


def run_problems(out: Path | str, benchmark: Path | str | None = None) -> list[str]:
    """Return what is wrong with the predictions of a folder, one line each.

    Args:
        out: folder that `run_method` or `import_videos` wrote.
        benchmark: benchmark that must have a prediction for each case.

    Raises:
        UserError: the folder has no run records, or one is invalid.
    """
    root = Path(out)
    ids = sorted(path.stem for path in (root / "runs").glob("*.json"))
    if not ids:
        raise UserError(f"{root} has no run records; expected a folder of baselines run or import")
    records = [record for case_id in ids if (record := load_run(root, case_id))]
    problems = [problem for record in records for problem in _of_record(root, record)]
    without = sorted(path.stem for path in root.glob("*.mp4") if path.stem not in ids)
    problems += [f"{case_id}: has no run record" for case_id in without]
    problems += _mixed(records)
    if benchmark is not None:
        problems += _missing(Benchmark.open(benchmark), ids)
    return list(dict.fromkeys(problems))


def _of_record(root: Path, record: RunRecord) -> list[str]:
    path = prediction_path(root, record.case_id)
    if record.status == "failed":
        left = ["the record says that it failed, but there is a prediction"] if path.exists() else []
        return [f"{record.case_id}: {text}" for text in [*left, f"failed: {record.code}: {record.detail}"]]
    if not path.is_file():
        return [f"{record.case_id}: the prediction is missing"]
    if not is_intact(root, record):
        return [f"{record.case_id}: the prediction is not the file that was recorded"]
    expected = record.normalization.get("num_frames")
    try:
        num_frames = probe(path).num_frames
    except ItemError as error:
        return [f"{record.case_id}: {error}"]
    return [] if num_frames == expected else [f"{record.case_id}: has {num_frames} frames; {expected} were recorded"]


def _mixed(records: list[RunRecord]) -> list[str]:
    """Return the properties in which records of one run must agree, and do not."""
    problems = []
    for name in ("method", "spec_sha256", "environment", "commit", "seed"):
        counts = Counter(str(getattr(record, name)) for record in records)
        if len(counts) > 1:
            values = ", ".join(f"{value[:12]} ({n})" for value, n in counts.most_common())
            problems.append(f"the records differ in {name}: {values}")
    return problems


def _missing(bench: Benchmark, ids: list[str]) -> list[str]:
    cases = {case.case_id for case in bench.cases}
    missing = [f"{case_id}: has no run record" for case_id in sorted(cases - set(ids))]
    return missing + [f"{case_id}: is no case of {bench.root}" for case_id in ids if case_id not in cases]
