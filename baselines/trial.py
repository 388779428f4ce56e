"""Try a method on one pair, twice: is its output accepted, repeatable, and equal to a stored result?"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from baselines.embedded_pair import NAME, pair_benchmark
from baselines.method_environment import environment_key, environments_root
from baselines.run_record import RunRecord, load_run, prediction_path
from baselines.runner import RunSettings, run_method
from baselines.spec import Method
from exprbench.benchmark import Benchmark
from exprbench.core.errors import UserError
from exprbench.core.files import read_json, write_json
from exprbench.core.schema import decode
from exprbench.media import open_clip
from exprbench.scoring import score

METRICS = ("psnr", "ssim", "lmd")
TOLERANCE = 0.02  # relative; GPUs and libraries round differently
CASE = "single-self-0001"


@dataclass(frozen=True, kw_only=True)
class MethodTrial:
    """How a method did on the pair.

    Attributes:
        status: one of `baselines.spec.STATUSES`.
        reason: why it is not `working`; empty if it is.
        benchmark: hash of the pair's benchmark.
        largest_difference: between two runs with one seed, of a pixel in 0 to 255; None if there were no two outputs.
        scores: column -> value of the self case.
        differences: column -> (value, stored value), where they differ.
    """

    method: str
    status: str
    reason: str
    benchmark: str
    spec_sha256: str
    environment: str
    gpu_name: str = ""
    seconds: float | None = None
    largest_difference: int | None = None
    scores: dict[str, float]
    differences: dict[str, tuple[float, float]]
    finished_at: float


def try_method(
    method: Method, *, out: Path | str, pair: tuple[Path, Path] | None = None, settings: RunSettings | None = None
) -> MethodTrial:
    """Run a method twice on a pair, compare the outputs, score one, and store the result.

    Args:
        out: folder of the pair and of the two runs.
        pair: portrait and driver; drawn ones by default, which need no download.
        settings: GPUs, options, interpreter, repository and time limit; cases, seed and attempts are fixed.

    Raises:
        UserError: a setting is invalid, or the method is not installed.
    """
    root = Path(out)
    bench = pair_benchmark(root, pair)
    if not any(case.case_id == CASE for case in bench.cases):
        raise UserError(f"no face is found in the driver; {bench.root} lists the reason in benchmark.json")
    folders = [root / "first", root / "second"]
    fixed = {"split": None, "track": "self", "limit": None, "seed": None, "attempts": 1, "overwrite": True}
    for folder in folders:
        result = run_method(
            method, benchmark=bench.root, out=folder, settings=replace(settings or RunSettings(), **fixed)
        )
        if result.failed:
            return _store(method, _trial(method, bench, "not working", result.failed[CASE], load_run(folder, CASE)))
    paths = [prediction_path(folder, CASE) for folder in folders]
    difference = largest_difference(*paths)
    record = score(
        benchmark=bench.root, predictions=folders[0], method=method.name, out=root / "score.json", metrics=METRICS,
        track="self", floors=False, workers=0,
    )  # fmt: skip
    scores = record.cases[0].values
    differences = compare(scores, stored_result(method, bench))
    status, reason = _judge(difference, differences)
    known = {"scores": scores, "differences": differences, "largest_difference": difference}
    return _store(method, _trial(method, bench, status, reason, load_run(folders[0], CASE), **known))


def largest_difference(first: Path, second: Path) -> int:
    """Return the largest absolute difference between pixels of two videos, 255 if their lengths or sizes differ."""
    largest = 0
    with open_clip(first) as one, open_clip(second) as other:
        for a, b in zip_longest(one, other):
            if a is None or b is None or a.shape != b.shape:
                return 255
            largest = max(largest, int(abs(a.astype(int) - b).max()))
    return largest


def stored_result(method: Method, bench: Benchmark) -> dict[str, float]:
    """Return the values to compare with: those of the specification for the drawn pair, else of an earlier trial."""
    published = method.reference_results.get(NAME, {})
    if published and bench.name == NAME:
        return published
    earlier = load_trial(method)
    return earlier.scores if earlier and earlier.benchmark == bench.sha256 else {}


def compare(scores: Mapping[str, float], stored: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return column -> (value, stored value) where they differ by more than the tolerance."""
    pairs = {name: (scores[name], value) for name, value in stored.items() if name in scores}
    return {name: (a, b) for name, (a, b) in pairs.items() if abs(a - b) > TOLERANCE * abs(b)}


def _judge(difference: int, differences: Mapping[str, tuple[float, float]]) -> tuple[str, str]:
    """Return status and reason of a trial whose outputs were accepted."""
    reasons = [f"two runs with one seed differ by up to {difference} of 255"] if difference else []
    reasons += [f"{name} is {a:.4g}, stored is {b:.4g}" for name, (a, b) in differences.items()]
    return ("working, numbers differ" if differences else "working"), "; ".join(reasons)


def _trial(
    method: Method, bench: Benchmark, status: str, reason: str, record: RunRecord | None, **known: Any
) -> MethodTrial:
    return MethodTrial(
        method=method.id,
        status=status,
        reason=reason,
        benchmark=bench.sha256,
        spec_sha256=method.sha256,
        environment=environment_key(method),
        gpu_name=record.gpu_name if record else "",
        seconds=record.seconds if record else None,
        finished_at=time.time(),
        **{"scores": {}, "differences": {}, **known},
    )


def trial_path(method: Method) -> Path:
    """Return the path of a method's stored trial on this machine."""
    return environments_root() / "trials" / f"{method.id}.json"


def _store(method: Method, trial: MethodTrial) -> MethodTrial:
    write_json(trial_path(method), asdict(trial))
    return trial


def load_trial(method: Method) -> MethodTrial | None:
    """Return the stored trial of a method, None if there is none of its present specification and environment."""
    content = read_json(trial_path(method))
    if not content:
        return None
    trial = decode(MethodTrial, content, str(trial_path(method)))
    current = (method.sha256, environment_key(method))
    return trial if (trial.spec_sha256, trial.environment) == current else None


def format_trial(trial: MethodTrial) -> str:
    """Return a trial as lines of text."""
    lines = [f"{trial.method}: {trial.status}{': ' if trial.reason else ''}{trial.reason}"]
    if trial.seconds is not None:
        lines.append(f"{trial.seconds:.1f} s on {trial.gpu_name or 'no GPU'}")
    lines += [f"{name} {value:.4g}" for name, value in trial.scores.items()]
    return "\n".join(lines)
