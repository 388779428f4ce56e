"""The lines below a table that give the time and memory which each method took."""

from collections import Counter
from collections.abc import Iterable, Sequence

from exprbench.records import CaseRun, CaseScore, ScoreRecord

GIB = 1 << 30


def cost_lines(records: Sequence[ScoreRecord]) -> Iterable[str]:
    """Yield a line for each record whose predictions have run records: means over videos, and largest memory."""
    for record in records:
        pairs = [(case, record.runs[case.case_id]) for case in record.cases if case.case_id in record.runs]
        timed = [(case, run) for case, run in pairs if run.seconds is not None]
        if timed:
            yield f"Time and memory of {record.method}: {_text(timed)}."


def _text(pairs: Sequence[tuple[CaseScore, CaseRun]]) -> str:
    seconds = sum(run.seconds or 0.0 for _, run in pairs)
    num_frames = sum(case.own_frames for case, _ in pairs)
    parts = [f"{seconds / len(pairs):.1f} s per video"]
    if num_frames:
        parts[0] += f", {seconds / num_frames:.2f} s per frame"
    for name, field in (("GPU", "peak_gpu_memory_bytes"), ("main", "peak_memory_bytes")):
        peaks = [peak for _, run in pairs if (peak := getattr(run, field))]
        if peaks:
            parts.append(f"{max(peaks) / GIB:.1f} GiB of {name} memory")
    gpus = Counter(run.gpu_name for _, run in pairs if run.gpu_name)
    parts.append(" and ".join(sorted(gpus)) or "no GPU recorded")
    notes = [f"{count} {what}" for what, count in _kinds([run for _, run in pairs]).items() if count]
    total = f"{len(pairs)} video{'s' * (len(pairs) != 1)}"
    return f"{', '.join(parts)} ({', '.join([total, *notes])})"


def _kinds(runs: Sequence[CaseRun]) -> dict[str, int]:
    """Return how many videos were composed from one run per face, and how many have times given by a user."""
    return {"composed": sum(run.composed for run in runs), "imported": sum(run.imported for run in runs)}
