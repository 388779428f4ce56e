"""The preflight of a run: what will be computed, what will not and why, and which predictions were found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exprbench.benchmark import Benchmark, Case
from exprbench.core.errors import ItemError
from exprbench.metrics import COLUMNS
from exprbench.metrics.metric import LANDMARKER
from exprbench.scoring.plan import ScoringPlan
from exprbench.scoring.planning import make_plan, select_cases
from exprbench.scoring.prediction_names import Naming, detect_naming, list_predictions, stem_of
from exprbench.weights import brief_reason

SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What a run will do.

    Attributes:
        columns: columns that will have numbers.
        without: column -> reason why it will have none.
        found, missing: ids of cases with and without a prediction.
        unknown: names in the folder that match no case.
        naming: the pattern of the names, if they are not case ids.
        is_map: whether a map names the files.
    """

    columns: tuple[str, ...]
    without: dict[str, str]
    found: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    naming: Naming | None
    is_map: bool

    def lines(self) -> list[str]:
        """Return the preflight as lines of text."""
        reasons: dict[str, list[str]] = {}
        for name, reason in self.without.items():
            reasons.setdefault(brief_reason(reason), []).append(name)
        lines = [f"columns: {_named(self.columns) or 'none'}"]
        lines += [f"without numbers: {_named(names)} ({reason})" for reason, names in reasons.items()]
        total = len(self.found) + len(self.missing)
        lines.append(f"predictions: {len(self.found)} of {total} cases{self._source_of_names()}")
        if self.missing:
            lines.append(f"without a prediction: {_some(self.missing)}{self._expected()}")
        if self.unknown:
            lines.append(f"match no case: {_some(self.unknown)}")
        return lines

    def _source_of_names(self) -> str:
        if self.is_map:
            return ", named by the map"
        return f", named {self.naming.pattern}" if self.naming else ""

    def _expected(self) -> str:
        if self.found or self.is_map:
            return ""
        return f"; expected {self.missing[0]}.mp4, or --map FILE with the columns case_id,file"


def _named(names: Sequence[str]) -> str:
    """Return the names of metrics of Table 1, and the number of variants."""
    metrics = [name for name in names if not COLUMNS[name].is_extra] or list(names[:SHOWN])
    num_more = len(names) - len(metrics)
    return " ".join(metrics) + (f" and {num_more} variant{'s' * (num_more > 1)}" if num_more else "")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def with_detected_names(plan: ScoringPlan, cases: Sequence[Case]) -> tuple[ScoringPlan, Naming | None]:
    """Return the plan with the names of a detected pattern, if no file is named by a case id or a map."""
    if plan.names or any(_is_found(plan, case) for case in cases):
        return plan, None
    naming = detect_naming(plan.bench, cases, list_predictions(plan.predictions))
    return (replace(plan, names=naming.names), naming) if naming else (plan, None)


def check_plan(plan: ScoringPlan, cases: Sequence[Case], naming: Naming | None = None) -> Preflight:
    """Return what a run of the plan on the cases will do; nothing is decoded."""
    found = [case.case_id for case in cases if _is_found(plan, case)]
    without = _columns_without(plan)
    known = {case.case_id for case in plan.bench.cases}
    used = {plan.predictions / name for name in plan.names.values()}
    names = [name for name in list_predictions(plan.predictions) if plan.predictions / name not in used]
    return Preflight(
        columns=tuple(name for name in plan.columns if name not in without and not _is_other_track(name, cases)),
        without={name: reason for name, reason in without.items() if not _is_other_track(name, cases)},
        found=tuple(found),
        missing=tuple(case.case_id for case in cases if case.case_id not in found),
        unknown=tuple(name for name in names if stem_of(name) not in known),
        naming=naming,
        is_map=bool(plan.names) and naming is None,
    )


def _is_found(plan: ScoringPlan, case: Case) -> bool:
    try:
        plan.prediction(case)
    except ItemError as error:
        return error.code != "missing_file"
    return True


def _columns_without(plan: ScoringPlan) -> dict[str, str]:
    reasons = {name: plan.unavailable_reason(COLUMNS[name]) for name in plan.columns}
    if LANDMARKER in plan.without and plan.face_sources() != "given":
        reasons |= {name: plan.without[LANDMARKER] for name in plan.columns if COLUMNS[name].kind == "face"}
    return {name: reason for name, reason in reasons.items() if reason}


def _is_other_track(name: str, cases: Sequence[Case]) -> bool:
    return not any(case.track in COLUMNS[name].defined_on for case in cases)


def preflight(
    *,
    benchmark: Benchmark | Path | str,
    predictions: Path | str,
    metrics: Sequence[str] | str | None = None,
    profile: str = "mediapipe",
    split: str | None = None,
    track: str | None = None,
    names: Mapping[str, str] | Path | str | None = None,
) -> Preflight:
    """Return what `score` with the same arguments will compute, without computing it.

    Raises:
        UserError: as for `score`.
    """
    plan = make_plan(benchmark, predictions, metrics=metrics, profile=profile, device="cpu", names=names)
    cases = select_cases(plan.bench, split, track)
    plan, naming = with_detected_names(plan, cases)
    return check_plan(plan, cases, naming)
