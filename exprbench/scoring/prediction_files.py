"""Locate a method's predictions, one video file or frame folder per case, and read their timing."""

import os
from collections.abc import Mapping
from pathlib import Path

from exprbench.benchmark import Case
from exprbench.core.errors import ItemError
from exprbench.media import VIDEO_SUFFIXES, MediaError, open_clip, probe

SUFFIXES = (*VIDEO_SUFFIXES, ".gif")


NO_NAMES: Mapping[str, str] = {}


def find_prediction(folder: Path, case: Case, names: Mapping[str, str] = NO_NAMES) -> Path:
    """Return a case's video file or frame folder.

    Args:
        names: case id -> name of its file in `folder`, for cases whose file has another name than the case.

    Raises:
        ItemError: `missing_file`, or `ambiguous_prediction` if there are two.
    """
    if case.case_id in names:
        path = folder / names[case.case_id]
        if not path.exists():
            raise ItemError("missing_file", f"{folder} does not hold {names[case.case_id]}, the file of the map")
        return path
    return _find_by_case_id(folder, case)


def _find_by_case_id(folder: Path, case: Case) -> Path:
    prefix = f"{case.case_id}."  # compared first, because a folder has the files of all cases
    names = [name for name in os.listdir(folder) if name.startswith(prefix)] if folder.is_dir() else []
    named = [folder / name for name in sorted(names) if os.path.splitext(name)[0] == case.case_id]
    paths = [path for path in named if path.suffix.lower() in SUFFIXES and path.is_file()]
    paths += [folder / case.case_id] if (folder / case.case_id).is_dir() else []
    if not paths:
        others = [path.name for path in named if path.suffix]
        found = f"; {others[0]} is not a video" if others else ""
        raise ItemError("missing_file", f"{folder} holds neither {case.case_id}.mp4 nor a folder {case.case_id}{found}")
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
