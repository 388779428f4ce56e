"""The score record: everything that stands behind a row of a leaderboard, as one JSON file.

A record is written by `exprbench score` and read, as untrusted input, by everything else. Its layout is these
dataclasses; `docs/record.md` explains them. A change that old readers would misread raises `SCHEMA`.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from exprbench.benchmark import CASE_ID
from exprbench.core.errors import UserError
from exprbench.core.files import write_json
from exprbench.core.schema import decode

if TYPE_CHECKING:
    import pandas

SCHEMA = 1
MAX_BYTES = 500_000_000
TIMING = "timing"
MAX_METHOD = 100


@dataclass(frozen=True, kw_only=True)
class CaseScore:
    """One case. `values` are means over its reference faces and frames, by metric or extra column."""

    case_id: str
    split: Literal["single", "multi"]
    track: Literal["self", "cross"]
    outcome: Literal["scored", "error"]
    code: str = ""
    """Why it is an error: missing_file, truncated, ... (see docs/record.md)."""
    detail: str = ""
    prediction_sha256: str = ""
    num_frames: int = 0
    """Frames scored: those both sides have."""
    num_frames_reference: int = 0
    size: tuple[int, int] | None = None
    """Width and height of the prediction."""
    resized: bool = False
    """Was it brought to the reference's size for the pixel metrics?"""
    num_faces: int = 0
    num_faces_missing: int = 0
    num_faces_extra: int = 0
    detect_rate: float | None = None
    """Share of the reference's faces, over all frames, that the prediction shows; null where nobody looked."""
    values: dict[str, float] = field(default_factory=dict)
    unscored: dict[str, str] = field(default_factory=dict)
    """Column -> why it has no value here."""

    @property
    def coverage(self) -> float:
        """Share of the reference's frames that were scored."""
        return self.num_frames / self.num_frames_reference if self.num_frames_reference else 0.0


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """One number of a leaderboard. `low` and `high` bound its 95 % interval under resampling of videos."""

    value: float
    num_videos: int
    low: float | None = None
    high: float | None = None
    num_samples: int | None = None
    """For distances between sets: images or clips on each side."""
    rank: int | None = None
    bias_floor: float | None = None
    """For distances between sets: the distance between two halves of the reference."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The cases of one split and track taken together."""

    split: Literal["single", "multi"]
    track: Literal["self", "cross"]
    num_cases: int
    num_scored: int
    num_resized: int
    coverage: float
    detect_rate: float | None
    errors: dict[str, int]
    aggregates: dict[str, Aggregate]
    unscored: dict[str, str]
    """Column -> why the group has no number for it."""


@dataclass(frozen=True, kw_only=True)
class ScoredBenchmark:
    """What was scored: a benchmark by name and hash, and which part of it."""

    name: str
    sha256: str
    num_cases: int


@dataclass(frozen=True, kw_only=True)
class ScoreRecord:
    """A method's scores on a benchmark. Two records with equal `protocol` and `ids` may stand in one table."""

    schema: int
    method: str
    benchmark: ScoredBenchmark
    profile: Literal["mediapipe", "paper"]
    protocol: dict[str, str]
    ids: dict[str, str]
    weights: dict[str, str]
    """Model file -> sha256 of the file used."""
    versions: dict[str, str]
    device: str
    groups: list[Group]
    cases: list[CaseScore]
    timing: dict[str, float | None] = field(default_factory=dict)

    def group(self, split: str, track: str) -> Group | None:
        """The group of a split and a track, where the record has it."""
        return next((g for g in self.groups if (g.split, g.track) == (split, track)), None)

    def to_frame(self) -> "pandas.DataFrame":
        """Return a pandas table with a row per case: what was scored, and a column per metric."""
        import pandas as pd

        names = [f.name for f in fields(CaseScore) if f.name not in ("values", "unscored", "size")]
        rows = [{**{n: getattr(c, n) for n in names}, "coverage": c.coverage, **c.values} for c in self.cases]
        columns = [*names, "coverage", *(name for name in self.ids if any(name in c.values for c in self.cases))]
        return pd.DataFrame(rows, columns=columns)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def save_record(path: Path | str, record: ScoreRecord) -> None:
    """Write a record, whole or not at all."""
    write_json(Path(path), record.to_json())


def load_record(path: Path | str) -> ScoreRecord:
    """Read and validate a record.

    Raises:
        UserError: it is not there, is cut short, or says something no record says.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no record {path}")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} has {path.stat().st_size} bytes; no record is larger than {MAX_BYTES}")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a whole JSON file ({error}); score again to write it anew") from error
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        found = told.get("schema") if isinstance(told, dict) else type(told).__name__
        raise UserError(f"{path} is a record of schema {found!r}; this version reads {SCHEMA}")
    record = decode(ScoreRecord, told, str(path))
    _check_sense(record, path)
    return record


def is_method_name(text: str) -> bool:
    """One line of printable text, not too long: nothing that turns the direction of writing or hides."""
    return 0 < len(text.strip()) <= MAX_METHOD and text.isprintable()


def _check_sense(record: ScoreRecord, path: Path) -> None:
    if not is_method_name(record.method):
        raise UserError(f"{path} is of a method named {ascii(record.method)[:60]}, which is no name")
    ids = [case.case_id for case in record.cases]
    odd = next((case_id for case_id in ids if not CASE_ID.fullmatch(case_id)), None)
    if odd is not None:
        raise UserError(f"{path} has a case {ascii(odd)[:60]}, which is no case id")
    if len(set(ids)) < len(ids):
        raise UserError(f"{path} has a case twice")
    columns = {name for g in record.groups for name in g.aggregates} | {n for c in record.cases for n in c.values}
    unnamed = columns - record.ids.keys()
    if unnamed:
        raise UserError(f"{path} has numbers without an id: {', '.join(sorted(unnamed))}")
