"""Locate a method's predictions: one video file or frame folder per case."""

from pathlib import Path

from exprbench.benchmark import Case
from exprbench.core.errors import ItemError
from exprbench.media import VIDEO_SUFFIXES


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
