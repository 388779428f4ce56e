"""Time and memory that the predictions took, from the run records that `baselines` writes next to them."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from exprbench.core.files import read_json
from exprbench.core.progress import say
from exprbench.core.schema import decode
from exprbench.records import CaseRun, CaseScore

FOLDER = "runs"


def read_runs(predictions: Path, case_ids: Iterable[str]) -> dict[str, CaseRun]:
    """Return case id -> how its prediction was made, for the cases with a record `runs/{case_id}.json`.

    Raises:
        UserError: a record is not valid.
    """
    paths = {case_id: predictions / FOLDER / f"{case_id}.json" for case_id in case_ids}
    contents = {case_id: read_json(path) for case_id, path in paths.items()}
    made = {case_id: content for case_id, content in contents.items() if content.get("status") == "ok"}
    return {case_id: _decode(content, paths[case_id]) for case_id, content in made.items()}


def _decode(content: Mapping[str, Any], path: Path) -> CaseRun:
    names = {f.name for f in fields(CaseRun)}
    return decode(CaseRun, {name: value for name, value in content.items() if name in names}, str(path))


def runs_of_scored(runs: Mapping[str, CaseRun], scores: Iterable[CaseScore]) -> dict[str, CaseRun]:
    """Return the runs whose prediction is the scored one, and say how many others there are."""
    scored = {score.case_id: score.prediction_sha256 for score in scores if score.outcome == "scored"}
    kept = {case_id: run for case_id, run in runs.items() if scored.get(case_id) == run.prediction_sha256}
    changed = sorted(case_id for case_id in runs if case_id in scored and case_id not in kept)
    if changed:
        say(f"{len(changed)} predictions are not those of their run records, such as {changed[0]}: time is left out")
    return dict(sorted(kept.items()))
