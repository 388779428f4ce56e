"""Decide whether records can be in one table: same benchmark, protocol, ids, weights and versions."""

from collections.abc import Iterable, Sequence

from exprbench.core.errors import UserError
from exprbench.records import ScoreRecord

FACE_MODELS = ("mediapipe", "ultralytics")  # libraries that contain or run face models
GIVEN_FACES = "given"


def find_incomparable(records: Sequence[ScoreRecord], mix: bool) -> set[int]:
    """Return the indices of records that cannot be compared with the first.

    Raises:
        UserError: there are such records, and `mix` is false.
    """
    indices = set()
    for i, record in enumerate(records[1:], 1):
        differences = list(_differences(records[0], record))
        if differences and not mix:
            raise UserError(
                f"{records[0].method} and {record.method} cannot be in one table: {differences[0]};"
                " score them with the same settings, or pass --mix to mark the difference"
            )
        indices |= {i} if differences else set()
    return indices


def _differences(a: ScoreRecord, b: ScoreRecord) -> Iterable[str]:
    if a.benchmark.sha256 != b.benchmark.sha256:
        names = [f"{r.benchmark.name} ({r.benchmark.sha256[:12]})" for r in (a, b)]
        yield f"one is of benchmark {names[0]}, one of {names[1]}"
    for name in sorted(a.ids.keys() & b.ids.keys()):
        if a.ids[name] != b.ids[name]:
            yield f"one has {a.ids[name]}, one has {b.ids[name]}"
    for key in sorted(a.protocol.keys() | b.protocol.keys()):
        if a.protocol.get(key) != b.protocol.get(key):
            yield f"{key} is {a.protocol.get(key)!r} in one and {b.protocol.get(key)!r} in the other"
    for name in sorted(a.weights.keys() & b.weights.keys()):
        if a.weights[name] != b.weights[name]:
            hashes = [record.weights[name][:12] or "an unknown file" for record in (a, b)]
            yield f"the weights of {name} are {hashes[0]} in one and {hashes[1]} in the other"
    yield from _version_differences(a, b)


def _version_differences(a: ScoreRecord, b: ScoreRecord) -> Iterable[str]:
    """Yield other versions of the code that decides numbers: minor versions of exprbench, and face models that ran."""
    minor = [".".join(record.versions.get("exprbench", "").split(".")[:2]) for record in (a, b)]
    if minor[0] != minor[1]:
        yield f"one was scored with exprbench {minor[0] or 'unknown'}, one with {minor[1] or 'unknown'}"
    if all(record.protocol.get("faces") == GIVEN_FACES for record in (a, b)):
        return
    for name in FACE_MODELS:
        if a.versions.get(name) != b.versions.get(name):
            yield f"{name} is {a.versions.get(name)} in one and {b.versions.get(name)} in the other"
