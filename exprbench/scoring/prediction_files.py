"""Locate a method's predictions, one video file or frame folder per case, and compare their timing."""

from pathlib import Path

from exprbench.benchmark import Case
from exprbench.core.errors import ItemError
from exprbench.media import VIDEO_SUFFIXES, MediaError, open_clip, probe
from exprbench.records import CaseScore, ScoreRecord

RATE_TOLERANCE = 1e-3  # relative
ABOUT_AS_MANY = 4  # frames; some methods generate numbers of frames of the form 4 n + 1


def find_prediction(folder: Path, case: Case) -> Path:
    """Return a case's video file or frame folder.

    Raises:
        ItemError: `missing_file`, or `ambiguous_prediction` if there are two.
    """
    candidates = [folder / f"{case.case_id}{suffix}" for suffix in VIDEO_SUFFIXES]
    paths = [path for path in candidates if path.is_file()]
    paths += [folder / case.case_id] if (folder / case.case_id).is_dir() else []
    if not paths:
        raise ItemError("missing_file", f"{folder} holds neither {case.case_id}.mp4 nor a folder {case.case_id}")
    if len(paths) > 1:
        raise ItemError("ambiguous_prediction", f"{folder} holds {' and '.join(p.name for p in paths)}; keep one")
    return paths[0]


def own_timing(path: Path, fps: float) -> tuple[int, float]:
    """Return the number of frames of a prediction's file and their rate; frames of a folder have the rate `fps`."""
    if path.is_dir():
        with open_clip(path, fps=fps) as clip:
            return round(clip.info.duration_s * fps), fps
    try:
        facts = probe(path)
    except MediaError:  # its first frames could be decoded; what follows is damaged
        return 0, 0.0
    return facts.num_frames, facts.fps


def differing_timing(record: ScoreRecord) -> str:
    """Return one line about the predictions whose own rate or length differs from the reference's, empty if none."""
    fps, by_index = float(record.protocol["fps"]), record.protocol.get("pairing") == "index"
    lines = [f"{case.case_id}: {text}" for case in record.cases if (text := _timing_problem(case, fps, by_index))]
    if len(lines) < 2:
        return "".join(lines)
    return f"{len(lines)} of {len(record.cases)} predictions differ from their references in timing, such as {lines[0]}"


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
