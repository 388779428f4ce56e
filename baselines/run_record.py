"""Run records: how the prediction of each case was made, one JSON file per case in `OUT/runs/`."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from baselines.attempt import Attempt
from exprbench.core.files import read_json, sha256_path, write_json
from exprbench.core.schema import decode

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """How the prediction of a case was made.

    Attributes:
        key: hash of everything that the prediction depends on: inputs, specification, environment, commit, options,
            seed, weights.
        environment, commit: key of the environment and commit of the checkout; see `Environment`.
        weights: model file or folder of the specification -> SHA-256, for those that were found.
        seed: None if the method takes none.
        gpu, gpu_name: index and product name of the GPU; empty without one.
        composed: whether it was put together from one run per face, our construction.
        imported: whether the video was made elsewhere.
        code, detail: why the case failed; empty if it did not.
        seconds: of the accepted attempts.
        normalization: what was done to the output.
    """

    schema: int
    method: str
    case_id: str
    status: Literal["ok", "failed"]
    key: str
    spec_sha256: str
    environment: str
    commit: str
    seed: int | None
    options: dict[str, str]
    weights: dict[str, str] = field(default_factory=dict)
    gpu: str = ""
    gpu_name: str = ""
    composed: bool = False
    imported: bool = False
    code: str = ""
    detail: str = ""
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    peak_gpu_memory_bytes: int | None = None
    attempts: list[Attempt] = field(default_factory=list)
    prediction_sha256: str = ""
    normalization: dict[str, Any] = field(default_factory=dict)
    finished_at: float = 0.0


def prediction_path(out: Path, case_id: str) -> Path:
    """Return the path of a case's prediction."""
    return out / f"{case_id}.mp4"


def record_path(out: Path, case_id: str) -> Path:
    """Return the path of a case's run record."""
    return out / "runs" / f"{case_id}.json"


def save_run(out: Path, record: RunRecord) -> None:
    """Write a run record atomically."""
    write_json(record_path(out, record.case_id), asdict(record))


def load_run(out: Path, case_id: str) -> RunRecord | None:
    """Return a case's run record, None if there is none.

    Raises:
        UserError: it is not a valid record.
    """
    path = record_path(out, case_id)
    content = read_json(path)
    if not content:
        return None
    normalization = content.pop("normalization", {})
    return replace(decode(RunRecord, content, str(path)), normalization=normalization)


def is_intact(out: Path, record: RunRecord) -> bool:
    """Return whether the prediction is the file that the record describes."""
    path = prediction_path(out, record.case_id)
    return path.is_file() and sha256_path(path) == record.prediction_sha256
