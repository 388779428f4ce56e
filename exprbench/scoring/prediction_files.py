"""Locate a method's predictions, one video file or frame folder per case, and read their timing."""

from pathlib import Path

from exprbench.benchmark import Case
from exprbench.core.errors import ItemError
from exprbench.media import VIDEO_SUFFIXES, MediaError, open_clip, probe


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
