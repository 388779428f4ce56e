"""Make the plan of a run from the arguments of `score`, and select its cases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exprbench.benchmark import Benchmark, Case, case_problems
from exprbench.core.errors import UserError
from exprbench.scoring.plan import Missing, Pairing, ScoringPlan, choose_columns, missing_weights, torch_device
from exprbench.scoring.prediction_names import check_names, read_names

MAX_LOOKS = 16
PAIRINGS = ("time", "index")


def make_plan(
    benchmark: Benchmark | Path | str,
    predictions: Path | str,
    *,
    profile: str = "mediapipe",
    metrics: Sequence[str] | str | None = None,
    missing: Missing = "exclude",
    pairing: Pairing = "time",
    device: str = "auto",
    networks: dict[str, Any] | None = None,
    looks: int = 1,
    names: Mapping[str, str] | Path | str | None = None,
) -> ScoringPlan:
    """Return the plan of a run; the arguments are those of `score`.

    Raises:
        UserError: an argument is invalid.
    """
    bench = Benchmark.open(benchmark.root if isinstance(benchmark, Benchmark) else benchmark)
    if not Path(predictions).is_dir():
        raise UserError(f"{predictions} is not a folder; expected a folder with one video per case, {{case_id}}.mp4")
    if pairing not in PAIRINGS:
        raise UserError(f"--pairing is {pairing!r}; expected time or index")
    given_names = read_names(names)
    check_names(given_names, bench)
    columns = choose_columns(metrics, profile)
    return ScoringPlan(
        bench=bench,
        predictions=Path(predictions),
        profile=profile,
        columns=columns,
        missing=missing,
        pairing=pairing,
        device=torch_device(device, columns, profile, networks or {}),
        without=missing_weights(columns, profile),
        networks=networks or {},
        looks=_checked_looks(looks),
        names=given_names,
    )


def select_cases(bench: Benchmark, split: str | None, track: str | None) -> tuple[Case, ...]:
    """Return the cases of a split and a track.

    Raises:
        UserError: there are none, or one names a file or a face that the benchmark does not have.
    """
    cases = bench.select(split, track)
    if not cases:
        raise UserError(f"{bench.root} has no {split or ''} {track or ''} cases".replace("  ", " "))
    for case in cases:
        for problem in case_problems(bench, case):
            raise UserError(f"{bench.root}: {case.case_id} {problem}")
    return cases


def _checked_looks(looks: int) -> int:
    if not 1 <= looks <= MAX_LOOKS:
        raise UserError(f"--looks is {looks}; expected a number of crops from 1 to {MAX_LOOKS}")
    return looks
