"""People who count: their boxes from scoring, and their tracks among those of an exported clip."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from exprbench.core.errors import ItemError
from exprbench.faces import FaceTrack, FaceTracks
from exprbench.faces.boxes import iou
from multiexpr.storage.parquet import read_rows, shard_path
from multiexpr.storage.workspace import Workspace

MIN_OVERLAP = 0.3  # mean intersection over union of the boxes of one person in scoring and in the exported clip

Row = dict[str, Any]


@dataclass(frozen=True)
class CountedPeople:
    """People of a clip who count.

    Attributes:
        numbers: their numbers in the scores, from 1, left to right.
        moments_s: (M,) times in seconds.
        boxes: (P, M, 4) boxes in [0, 1] of the frame at these times; NaN where a face is not visible.
    """

    numbers: tuple[int, ...]
    moments_s: np.ndarray
    boxes: np.ndarray


def counted_people(workspace: Workspace, shard: int, kept: dict[str, list[int]]) -> dict[str, CountedPeople]:
    """Return the people who count by clip id, given their numbers by clip id."""
    path = shard_path(workspace.scores("motion"), shard)
    rows = read_rows(path, ["clip_id", "face_moment_s", "face_moment_box"])
    return {row["clip_id"]: _counted(row, kept[row["clip_id"]]) for row in rows if row["clip_id"] in kept}


def _counted(row: Row, numbers: list[int]) -> CountedPeople:
    moments = np.array(row["face_moment_s"] or [], np.float64)
    boxes = np.array(row["face_moment_box"] or [], np.float64).reshape(-1, len(moments), 4)
    return CountedPeople(tuple(numbers), moments, boxes[[number - 1 for number in numbers]])


def select_tracks(tracks: FaceTracks, people: CountedPeople) -> FaceTracks:
    """Return the tracks of the people who count, in their order.

    Raises:
        ItemError: people_lost, if the tracks do not show all of them.
    """
    from scipy.optimize import linear_sum_assignment

    shares = np.array([[_mean_iou(track, tracks.fps, people, i) for track in tracks.tracks]
                         for i in range(len(people.numbers))]).reshape(len(people.numbers), -1)  # fmt: skip
    pairs = list(zip(*linear_sum_assignment(-shares), strict=True))
    found = {int(i): int(j) for i, j in pairs if shares[i, j] >= MIN_OVERLAP}
    lost = [number for i, number in enumerate(people.numbers) if i not in found]
    if lost:
        raise ItemError("people_lost", f"not found in the exported clip: person {', '.join(map(str, lost))}")
    return replace(tracks, tracks=tuple(tracks.tracks[j] for j in found.values()))


def _mean_iou(track: FaceTrack, fps: float, people: CountedPeople, i: int) -> float:
    shared = []
    for moment_s, box in zip(people.moments_s, people.boxes[i], strict=True):
        t = min(round(moment_s * fps), len(track.seen) - 1)
        if track.seen[t] and not np.isnan(box).any():
            shared.append(iou(tuple(track.box[t]), tuple(box)))
    return float(np.mean(shared)) if shared else 0.0
