"""The key of a study: which method is behind which trial. It stays with the organiser, outside of the folder."""

import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from exprbench.core.errors import UserError
from exprbench.core.files import read_json, write_json
from exprbench.core.schema import decode

SCHEMA = 1
LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # without those that are easily confused
HIGH, LOW, TRAP = "high", "low", "trap"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One page of the questionnaire.

    Attributes:
        kind: `scored`; `repeat` of a scored trial; `gold`, with a known answer; `trap`, a video that says what to
            answer; `practice`, which is not evaluated.
        left: method of the only, or the left, video; `high` or `low` in gold and practice trials.
        right: method of the right video of a pair; empty in a rating trial.
        expected: answer to a trap: the score, or the side (0 left, 1 right).
        duration_s: duration of the result in seconds.
    """

    kind: Literal["scored", "repeat", "gold", "trap", "practice"]
    case_id: str
    split: str = ""
    left: str
    right: str = ""
    expected: int = 0
    duration_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StudyKey:
    """Content of the key file.

    Attributes:
        secret: key of the hashes that name trials, raters and media.
        trials: trial id -> trial.
        raters: code of a rater -> ids of the trials, in order.
    """

    schema: int
    study: str
    secret: str
    mode: Literal["rating", "pairs"]
    seed: int
    benchmark: str
    benchmark_sha256: str
    methods: tuple[str, ...]
    trials: dict[str, Trial]
    raters: dict[str, tuple[str, ...]]


def load_key(path: Path | str) -> StudyKey:
    """Return the key in a file.

    Raises:
        UserError: there is no such file, or it is not a key.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no key {path}; exprbench study build writes it next to the study's folder")
    key = decode(StudyKey, read_json(path), str(path))
    if key.schema != SCHEMA:
        raise UserError(f"{path} has schema {key.schema}; this version reads {SCHEMA}")
    return key


def write_key(path: Path, key: StudyKey) -> None:
    """Write a key that only its owner can read."""
    write_json(path, asdict(key))
    path.chmod(0o600)


def secret_of(path: Path) -> str:
    """Return the secret in an existing key file, so that a study can be built again; otherwise a new one."""
    return load_key(path).secret if path.exists() else secrets.token_hex(16)


def hidden_name(secret: str, *parts: str) -> str:
    """Return a name of 16 hexadecimal digits that reveals nothing about `parts` without the secret."""
    return hmac.new(secret.encode(), json.dumps(parts).encode(), hashlib.sha256).hexdigest()[:16]


def trial_id(secret: str, trial: Trial) -> str:
    """Return the public id of a trial."""
    return hidden_name(secret, "trial", trial.kind, trial.case_id, trial.left, trial.right)


def rater_codes(secret: str, count: int) -> list[str]:
    """Return a distinct code of six letters and digits for each rater; a mistyped one is hardly ever another's."""
    codes: list[str] = []
    number = 0
    while len(codes) < count:
        digest = int(hidden_name(secret, "rater", str(number)), 16)
        code = "".join(LETTERS[digest // len(LETTERS) ** place % len(LETTERS)] for place in range(6))
        codes += [code] if code not in codes else []
        number += 1
    return codes
