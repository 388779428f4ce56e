"""Score records: all results behind a row of a leaderboard, as one JSON file.

Records are written by `exprbench score` and validated when they are read. These dataclasses define the layout;
`docs/record.md` explains it. Increase `SCHEMA` with a change that older versions would misread.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from exprbench.benchmark import CASE_ID
from exprbench.core.errors import UserError
from exprbench.core.files import write_json
from exprbench.core.json_schema import json_schema
from exprbench.core.schema import decode

if TYPE_CHECKING:
    import pandas

SCHEMA = 2
MAX_BYTES = 500_000_000
TIMING = "timing"
COSTS = ("seconds", "peak_memory_bytes", "peak_gpu_memory_bytes", "gpu_name")
MAX_METHOD = 100
ASPECT_TOLERANCE = 0.05  # that of sizes rounded to a multiple of 16 or 32
RATE_TOLERANCE = 1e-3  # relative
ABOUT_AS_MANY = 4  # frames; some methods generate numbers of frames of the form 4 n + 1


@dataclass(frozen=True, kw_only=True)
class CaseScore:
    """Score of one case; `values` maps columns to means over its reference faces and frames."""

    case_id: str
    split: Literal["single", "multi"]
    track: Literal["self", "cross"]
    outcome: Literal["scored", "error"]
    code: str = ""
    """Error code: missing_file, truncated, ... (see docs/record.md)."""
    detail: str = ""
    prediction_sha256: str = ""
    num_frames: int = 0
    """Number of scored frames, which both videos have."""
    num_frames_reference: int = 0
    own_frames: int = 0
    """Number of frames in the prediction's file."""
    own_fps: float | None = None
    """Frame rate of the prediction's file; null for a failed case."""
    size: tuple[int, int] | None = None
    """Width and height of the prediction."""
    size_reference: tuple[int, int] | None = None
    """Width and height that it should have, up to scale: those of the reference; of the source image in cross cases."""
    resized: bool = False
    """Whether the prediction was resized to the reference for the pixel metrics."""
    num_faces: int = 0
    num_faces_missing: int = 0
    num_faces_extra: int = 0
    detect_rate: float | None = None
    """Share of the reference's faces, over all frames, detected in the prediction; null if faces were not detected."""
    values: dict[str, float] = field(default_factory=dict)
    unscored: dict[str, str] = field(default_factory=dict)
    """Column -> reason why it has no value for this case."""

    @property
    def coverage(self) -> float:
        """Return the share of the reference's frames that were scored."""
        return self.num_frames / self.num_frames_reference if self.num_frames_reference else 0.0

    @property
    def has_other_aspect(self) -> bool:
        """Return whether the prediction's aspect ratio differs from the reference's by more than rounding of sizes."""
        if self.size is None or self.size_reference is None or not min(*self.size, *self.size_reference) > 0:
            return False
        (width, height), (width_reference, height_reference) = self.size, self.size_reference
        ratio = width * height_reference / (height * width_reference)
        return max(ratio, 1 / ratio) > 1 + ASPECT_TOLERANCE


@dataclass(frozen=True, kw_only=True)
class CaseRun:
    """How a prediction was made, from the run record next to it (`runs/{case_id}.json`, written by `baselines`)."""

    prediction_sha256: str
    method: str = ""
    spec_sha256: str = ""
    environment: str = ""
    commit: str = ""
    weights: dict[str, str] = field(default_factory=dict)
    seed: int | None = None
    gpu_name: str = ""
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    peak_gpu_memory_bytes: int | None = None
    composed: bool = False
    """Whether it was put together from one run per face."""
    imported: bool = False
    """Whether the video was made elsewhere; time and memory are what its user gave."""


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """One number of a leaderboard; `low` and `high` are the bounds of its 95 % interval over videos."""

    value: float
    num_videos: int
    low: float | None = None
    high: float | None = None
    num_samples: int | None = None
    """For distances between sets: number of images or clips of the predictions."""
    rank: int | None = None
    bias_floor: float | None = None
    """For distances between sets: distance between two halves of the reference."""
    floor: float | None = None
    """Noise floor: the value of the reference measured twice; see docs/metrics.md."""
    influence: dict[str, float] = field(default_factory=dict)
    """For distances between sets: case id -> derivative of the distance by the weight of the case's video, centred."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Aggregated scores of the cases of one split and track."""

    split: Literal["single", "multi"]
    track: Literal["self", "cross"]
    num_cases: int
    num_cases_benchmark: int
    """Number of cases of the split and track in the benchmark; more than `num_cases` for a shard."""
    num_scored: int
    num_resized: int
    num_other_aspect: int
    """Number of scored cases whose prediction has another aspect ratio than the reference."""
    num_extra_faces: int
    """Number of scored cases whose prediction shows faces that the reference does not."""
    coverage: float
    detect_rate: float | None
    errors: dict[str, int]
    aggregates: dict[str, Aggregate]
    unscored: dict[str, str]
    """Column -> reason why it has no aggregate."""


@dataclass(frozen=True, kw_only=True)
class ScoredBenchmark:
    """The benchmark that was scored, by name and hash."""

    name: str
    sha256: str
    num_cases: int


@dataclass(frozen=True, kw_only=True, repr=False)
class ScoreRecord:
    """A method's scores on a benchmark; records with equal `protocol` and `ids` are comparable."""

    schema: int
    method: str
    benchmark: ScoredBenchmark
    profile: Literal["mediapipe", "paper"]
    protocol: dict[str, str]
    ids: dict[str, str]
    weights: dict[str, str]
    """Model file -> SHA-256 of the file used."""
    versions: dict[str, str]
    device: str
    groups: list[Group]
    cases: list[CaseScore]
    timing: dict[str, float | None] = field(default_factory=dict)
    runs: dict[str, CaseRun] = field(default_factory=dict)
    """Case id -> how its prediction was made, where that is recorded."""

    def __repr__(self) -> str:
        num_scored = sum(case.outcome == "scored" for case in self.cases)
        numbers = [f"{g.split} {g.track}: {_brief(g)}" for g in self.groups]
        head = f"{self.method!r} on {self.benchmark.name}, {num_scored} of {len(self.cases)} cases scored"
        return f"<ScoreRecord {'; '.join([head, *numbers])}>"

    def _repr_html_(self) -> str:
        """Return the aggregates as an HTML table, for notebooks; unscaled."""
        names = [name for name in self.ids if any(name in group.aggregates for group in self.groups)]
        head = "".join(f"<th>{escape(text)}</th>" for text in ("", *names))
        rows = "".join(
            f"<tr><th>{g.split} {g.track}</th>"
            + "".join(f"<td>{g.aggregates[n].value:.4g}</td>" if n in g.aggregates else "<td></td>" for n in names)
            + "</tr>"
            for g in self.groups
        )
        about = escape(f"{self.method} on {self.benchmark.name}, {len(self.cases)} cases")
        return f"<table><caption>{about}</caption><tr>{head}</tr>{rows}</table>"

    def group(self, split: str, track: str) -> Group | None:
        """Return the group of a split and track, None if the record does not have it."""
        return next((g for g in self.groups if (g.split, g.track) == (split, track)), None)

    def to_frame(self) -> "pandas.DataFrame":
        """Return a pandas table with a row per case: what was scored, a column per metric, and costs if known."""
        import pandas as pd

        names = [f.name for f in fields(CaseScore) if f.name not in ("values", "unscored", "size", "size_reference")]
        rows = [{**{n: getattr(c, n) for n in names}, "coverage": c.coverage, **c.values} for c in self.cases]
        rows = [row | {name: getattr(self.runs.get(row["case_id"]), name, None) for name in COSTS} for row in rows]
        columns = [*names, "coverage", *(name for name in self.ids if any(name in c.values for c in self.cases))]
        columns += COSTS if self.runs else []
        return pd.DataFrame(rows, columns=columns)

    def differing_timing(self) -> str:
        """Return one line about the predictions whose own rate or length differs from the reference's, or nothing."""
        fps, by_index = float(self.protocol["fps"]), self.protocol.get("pairing") == "index"
        lines = [f"{case.case_id}: {text}" for case in self.cases if (text := _timing_problem(case, fps, by_index))]
        if len(lines) < 2:
            return "".join(lines)
        return (
            f"{len(lines)} of {len(self.cases)} predictions differ from their references in timing, such as {lines[0]}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self)


def _brief(group: Group) -> str:
    """Return the numbers of a group that are not variants (their names have an underscore), unscaled."""
    shown = [f"{name} {aggregate.value:.4g}" for name, aggregate in group.aggregates.items() if "_" not in name]
    return ", ".join(shown) or "no numbers"


def _timing_problem(case: CaseScore, fps: float, by_index: bool) -> str:
    """Return how a prediction's timing differs from its reference's, empty if it does not."""
    if not case.own_frames or not case.own_fps:
        return ""
    same_rate = by_index or abs(case.own_fps / fps - 1) < RATE_TOLERANCE
    if same_rate and case.own_frames == case.num_frames_reference:
        return ""
    if by_index:
        return f"{case.own_frames} frames; the reference has {case.num_frames_reference}"
    lasts = f"{case.own_frames} frames at {case.own_fps:g} fps last {case.own_frames / case.own_fps:.1f} s"
    text = f"{lasts}; the reference lasts {case.num_frames_reference / fps:.1f} s"
    hint = not same_rate and abs(case.own_frames - case.num_frames_reference) <= ABOUT_AS_MANY
    return text + ("; --pairing index pairs them by number" if hint else "")


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema of a record; the package ships it as `record.schema.json`."""
    return json_schema(ScoreRecord)


def save_record(path: Path | str, record: ScoreRecord) -> None:
    """Write a record atomically."""
    write_json(Path(path), record.to_json())


def load_record(path: Path | str) -> ScoreRecord:
    """Load and validate a record.

    Raises:
        UserError: the file is missing, truncated, or not a valid record.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no record {path}")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} has {path.stat().st_size} bytes; expected a record of at most {MAX_BYTES}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); score again to replace it") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        schema = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{path} is a record of schema {schema!r}; this version reads {SCHEMA}")
    record = decode(ScoreRecord, content, str(path))
    _check_consistency(record, path)
    return record


def is_method_name(text: str) -> bool:
    """Return whether a text is a valid method name: one line of at most 100 printable characters."""
    return 0 < len(text.strip()) <= MAX_METHOD and text.isprintable()


def _check_consistency(record: ScoreRecord, path: Path) -> None:
    if not is_method_name(record.method):
        raise UserError(f"{path}: the method is {ascii(record.method)[:60]}; expected one line of printable text")
    ids = [case.case_id for case in record.cases]
    invalid = next((case_id for case_id in ids if not CASE_ID.fullmatch(case_id)), None)
    if invalid is not None:
        raise UserError(f"{path}: a case is {ascii(invalid)[:60]}; expected an id such as single-self-0001")
    if len(set(ids)) < len(ids):
        raise UserError(f"{path} lists a case twice")
    columns = {name for g in record.groups for name in g.aggregates} | {n for c in record.cases for n in c.values}
    without_id = columns - record.ids.keys()
    if without_id:
        raise UserError(f"{path} has numbers without an id: {', '.join(sorted(without_id))}")
