"""`verify`: hold predictions against a record, and score a sample of its cases again."""

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from exprbench.benchmark import Benchmark, Case
from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import sha256_path
from exprbench.core.progress import progress
from exprbench.leaderboard.receipts import Receipt, save_receipt
from exprbench.leaderboard.verification import load_verified
from exprbench.metrics import COLUMNS, Metric
from exprbench.records import CaseScore, ScoreRecord
from exprbench.scoring.cases import score_case
from exprbench.scoring.plan import ScoringPlan, verify_files
from exprbench.scoring.planning import make_plan
from exprbench.scoring.preflight import with_detected_names
from exprbench.weights import folders

# Float32 networks sum in another order on another processor; pixels are compared in integers and float64.
EXACT, OF_NETWORKS = 1e-9, 0.01
MISSING = {"left out": "exclude", "given the worst value": "penalty"}


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The outcome of `verify`: the receipt and its path."""

    receipt: Receipt
    path: Path


def verify(
    record: Path | str,
    *,
    predictions: Path | str,
    benchmark: Benchmark | Path | str,
    sample: int = 8,
    seed: int = 0,
    names: Path | str | None = None,
) -> Verified:
    """Compare predictions with a record, score a sample of its cases again, and write a receipt next to it.

    The hash of every prediction is compared. The sample is drawn with `seed` and scored without the cache. Values of
    pixels must agree; those of networks may differ by 1 %, or by 0.01 in units of the table. FID and FVD depend on all
    videos, so they are not part of the sample.

    Args:
        record: file that `score` wrote.
        predictions: folder of the method's videos.
        benchmark: benchmark of the record.
        sample: number of cases to score again.
        seed: seed of the sample.
        names: map of predictions that are not named by case ids.

    Raises:
        UserError: the record cannot be read, or is of another benchmark.
    """
    path = Path(record)
    loaded = load_verified(path)
    plan = _plan(loaded, benchmark, predictions, names)
    cases = {case.case_id: case for case in plan.bench.cases}
    problems = list(_hash_problems(plan, loaded, cases))
    num_same = sum(bool(case.prediction_sha256) for case in loaded.cases) - len(problems)
    scored = [case for case in loaded.cases if case.outcome == "scored"]
    chosen = sorted(random.Random(seed).sample(scored, min(sample, len(scored))), key=lambda case: case.case_id)  # noqa: S311
    verify_files(plan, [cases[case.case_id] for case in chosen])
    differences: dict[str, float] = {}
    with _empty_cache():
        for case in progress(chosen, total=len(chosen), label="verify", unit="case"):
            problems += _compare(plan, cases[case.case_id], case, differences)
    receipt = Receipt(
        record_sha256=sha256_path(path),
        method=loaded.method,
        benchmark_sha256=loaded.benchmark.sha256,
        num_predictions=num_same,
        seed=seed,
        sample=[case.case_id for case in chosen],
        columns=sorted(differences),
        max_difference=differences,
        versions=loaded.versions,
        device=plan.device,
        verified_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        problems=problems,
    )
    return Verified(receipt=receipt, path=save_receipt(path, receipt))


def _plan(
    record: ScoreRecord, benchmark: Benchmark | Path | str, predictions: Path | str, names: Path | str | None
) -> ScoringPlan:
    """Return a plan with the settings of a record, of the columns whose ids this version computes."""
    looks = max((_looks(metric_id) for metric_id in record.ids.values()), default=1)
    options = {
        "profile": record.profile,
        "missing": MISSING.get(record.protocol.get("missing faces", ""), "exclude"),
        "pairing": record.protocol.get("pairing", "time"),
        "looks": looks,
        "names": names,
    }
    plan = make_plan(benchmark, predictions, metrics=[n for n in record.ids if n in COLUMNS], **options)  # type: ignore[arg-type]
    if plan.bench.sha256 != record.benchmark.sha256:
        raise UserError(
            f"the record is of benchmark {record.benchmark.sha256[:12]}; {plan.bench.root} is {plan.bench.sha256[:12]}"
        )
    same = [n for n in plan.columns if record.ids.get(n) == plan.ids[n] and COLUMNS[n].kind != "set"]
    if not same:
        raise UserError("the record has no column that a sample of its cases can verify; expected pixels or faces")
    plan = make_plan(benchmark, predictions, metrics=same, **options)  # type: ignore[arg-type]
    return with_detected_names(plan, plan.bench.cases)[0]


def _looks(metric_id: str) -> int:
    last = metric_id.rstrip("]").rpartition(",")[2]
    return int(last[5:]) if last.startswith("looks") and last[5:].isdecimal() else 1


def _hash_problems(plan: ScoringPlan, record: ScoreRecord, cases: dict[str, Case]) -> Iterator[str]:
    for score in record.cases:
        if not score.prediction_sha256:
            continue
        try:
            found = sha256_path(plan.prediction(cases[score.case_id]))
        except ItemError as error:
            yield f"{score.case_id}: {error}"
            continue
        if found != score.prediction_sha256:
            yield f"{score.case_id}: the prediction is {found[:12]}; the record has {score.prediction_sha256[:12]}"


@contextmanager
def _empty_cache() -> Iterator[None]:
    """Use an empty cache; downloaded model files stay where they are."""
    names = ("EXPRBENCH_CACHE", "EXPRBENCH_WEIGHTS")
    before = {name: os.environ.get(name) for name in names}
    model_files = os.pathsep.join(map(str, folders()))
    with tempfile.TemporaryDirectory(prefix="exprbench-verify-") as folder:
        os.environ.update({"EXPRBENCH_CACHE": folder, "EXPRBENCH_WEIGHTS": model_files})
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _compare(plan: ScoringPlan, case: Case, stored: CaseScore, differences: dict[str, float]) -> Sequence[str]:
    """Return the differences between a stored score and a new one, and keep the largest of each column."""
    again = score_case(plan, case)
    if again.outcome == "error":
        return [f"{case.case_id}: {again.code}: {again.detail}"]
    problems = []
    for name in (name for name in stored.values if name in plan.columns):
        metric = COLUMNS[name]
        if name not in again.values:
            problems.append(f"{case.case_id}: no {name} ({again.unscored.get(name, 'not scored')})")
            continue
        difference = abs(again.values[name] - stored.values[name])
        differences[name] = max(differences.get(name, 0.0), difference * metric.table_scale)
        if difference > _tolerance(metric, stored.values[name]):
            problems.append(f"{case.case_id}: {name} is {again.values[name]:g}; the record has {stored.values[name]:g}")
    return problems


def _tolerance(metric: Metric, value: float) -> float:
    if metric.kind == "pixel" and not any(metric.weights.values()):
        return EXACT * max(1.0, abs(value))
    return OF_NETWORKS * max(abs(value), 1 / metric.table_scale)
