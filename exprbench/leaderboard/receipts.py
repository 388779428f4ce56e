"""Receipts of verified records: `mine.receipt` next to `mine.json`."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from exprbench.core.errors import UserError
from exprbench.core.files import sha256_path, write_json
from exprbench.core.schema import decode
from exprbench.records import ScoreRecord

SELF_SCORED, VERIFIED = "self-scored", "verified"


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The result of `verify`: what was compared, and what differed.

    Attributes:
        record_sha256: hash of the record's file; the receipt holds for this file only.
        num_predictions: number of predictions that have the hash of the record.
        sample: ids of the cases that were scored again.
        columns: columns that were compared.
        max_difference: column -> largest difference, in units of the table.
        problems: differences, one line each; empty if the record is verified.
    """

    record_sha256: str
    method: str
    benchmark_sha256: str
    num_predictions: int
    seed: int
    sample: list[str]
    columns: list[str]
    max_difference: dict[str, float]
    versions: dict[str, str]
    device: str
    verified_at: str
    problems: list[str] = field(default_factory=list)


def receipt_path(record: Path) -> Path:
    """Return the path of a record's receipt; the suffix keeps it out of `*.json`."""
    return record.with_suffix(".receipt")


def save_receipt(record: Path, receipt: Receipt) -> Path:
    """Write the receipt of a record and return its path."""
    write_json(receipt_path(record), asdict(receipt))
    return receipt_path(record)


def load_receipt(record: Path) -> Receipt | None:
    """Return the receipt of a record's file, None if it has none, or one of another version of the file.

    Raises:
        UserError: the receipt cannot be read.
    """
    path = receipt_path(record)
    if not path.is_file():
        return None
    try:
        receipt = decode(Receipt, json.loads(path.read_text(encoding="utf-8")), str(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); verify the record again") from error
    return receipt if receipt.record_sha256 == sha256_path(record) else None


def status_of(record: ScoreRecord | Path | str) -> str:
    """Return `verified` for a record's file with a receipt without problems, `self-scored` otherwise."""
    if isinstance(record, ScoreRecord):
        return SELF_SCORED
    receipt = load_receipt(Path(record))
    return VERIFIED if receipt and not receipt.problems else SELF_SCORED
