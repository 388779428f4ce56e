"""Names of predictions other than `{case_id}.mp4`: from a map, or from a pattern that all names follow."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exprbench.benchmark import Benchmark, Case
from exprbench.core.errors import UserError
from exprbench.scoring.prediction_files import SUFFIXES

OF_BASELINES = ("jobs", "logs", "runs")  # folders that it keeps next to the predictions
SEPARATORS = ("--", "__", "_to_", "_", "-", "+")


@dataclass(frozen=True, kw_only=True)
class Naming:
    """A pattern of names and the files that it gives: case id -> name of the file."""

    pattern: str
    names: dict[str, str]


def read_names(names: Mapping[str, str] | Path | str | None) -> dict[str, str]:
    """Return case id -> name of the prediction's file, from a dict, or from a CSV or JSON file.

    A CSV file has the columns `case_id` and `file`; a JSON file holds an object.

    Raises:
        UserError: the file cannot be read, or is neither.
    """
    if names is None:
        return {}
    if isinstance(names, Mapping):
        return dict(names)
    path = Path(names)
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix.lower() == ".json" else _from_csv(path, text)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a map ({error}); expected CSV with case_id,file") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content.values()):
        raise UserError(f"{path} is not a map; expected an object like {{'single-self-0001': 'a.mp4'}}")
    return content


def _from_csv(path: Path, text: str) -> dict[str, str]:
    rows = list(csv.DictReader(text.splitlines()))
    if not rows or not {"case_id", "file"} <= rows[0].keys():
        raise UserError(f"{path} is not a map; expected CSV with the columns case_id and file")
    short = next((row["case_id"] for row in rows if row["file"] is None), None)
    if short is not None:
        raise ValueError(f"the row of {short[:40]!r} has no file")
    return {row["case_id"]: row["file"] for row in rows}


def check_names(names: Mapping[str, str], bench: Benchmark) -> None:
    """Raise an error if a map names a case that the benchmark does not have."""
    known = {case.case_id for case in bench.cases}
    unknown = [case_id for case_id in names if case_id not in known]
    if unknown:
        raise UserError(
            f"the map names {unknown[0]!r}, which is no case of {bench.root}; exprbench cases lists their ids"
        )


def list_predictions(folder: Path) -> list[str]:
    """Return the names in a folder that can be predictions: videos, and folders other than those of `baselines`."""
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    others = [path for path in visible if path.name not in OF_BASELINES]
    return [path.name for path in others if path.is_dir() or path.suffix.lower() in SUFFIXES]


def stem_of(name: str) -> str:
    """Return a name without the suffix of a video."""
    suffix = Path(name).suffix
    return name[: -len(suffix)] if suffix.lower() in SUFFIXES else name


def detect_naming(bench: Benchmark, cases: Sequence[Case], names: Sequence[str]) -> Naming | None:
    """Return the pattern that file names follow, None if there is none, or two that disagree.

    A pattern must give every case at most one file, every file to at most one case, and at least half of the cases a
    file.
    """
    by_stem = {stem_of(name).lower(): name for name in names}
    found: list[Naming] = []
    for pattern, stems in _patterns(bench, cases):
        files = {case.case_id: _file(by_stem, stems(case)) for case in cases}
        naming = Naming(pattern=pattern, names={case_id: name for case_id, name in files.items() if name})
        if _is_usable(naming, len(cases)):
            found.append(naming)
    most = max((len(naming.names) for naming in found), default=0)
    best = [naming for naming in found if len(naming.names) == most]
    return best[0] if best and all(naming.names == best[0].names for naming in best) else None


def _file(by_stem: Mapping[str, str], stems: Iterable[str]) -> str:
    files = {by_stem[stem.lower()] for stem in stems if stem.lower() in by_stem}
    return files.pop() if len(files) == 1 else ""


def _is_usable(naming: Naming, num_cases: int) -> bool:
    uses = Counter(naming.names.values())
    return 2 * len(naming.names) >= num_cases > 0 and max(uses.values()) == 1


def _patterns(bench: Benchmark, cases: Sequence[Case]) -> Iterable[tuple[str, Callable[[Case], set[str]]]]:
    """Yield patterns, and the file stems that each gives a case."""
    yield "{case_id} in other letters", lambda case: {case.case_id, case.case_id.replace("-", "_")}
    for separator in SEPARATORS:
        yield f"{{source}}{separator}{{driver}}", lambda case, s=separator: _joined(bench, case, s, source_first=True)
        yield f"{{driver}}{separator}{{source}}", lambda case, s=separator: _joined(bench, case, s, source_first=False)
    yield "{driver}", lambda case: {separator.join(d) for d in _drivers(bench, case) for separator in SEPARATORS}
    yield "{source}", lambda case: _stems(bench, case.source)


def _joined(bench: Benchmark, case: Case, separator: str, *, source_first: bool) -> set[str]:
    return {
        separator.join((source, *drivers) if source_first else (*drivers, source))
        for source in _stems(bench, case.source)
        for drivers in _drivers(bench, case)
    }


def _drivers(bench: Benchmark, case: Case) -> list[tuple[str, ...]]:
    """Return the names of a case's drivers, as they are in the benchmark and as the input files had them."""
    unique = tuple(dict.fromkeys(case.drivers))
    originals = tuple(Path(bench.assets[d].original).stem or Path(d).stem for d in unique)
    return [tuple(Path(d).stem for d in unique), originals]


def _stems(bench: Benchmark, relative: str) -> set[str]:
    asset = bench.assets.get(relative)
    names = {Path(relative).stem, Path(asset.original).stem if asset else ""}
    return {name for name in names if name}
