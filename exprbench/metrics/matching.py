"""Which face of a prediction is which face of its reference: decided once a video, on tracks, so that none can swap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exprbench.faces import FaceTrack, FaceTracks
from exprbench.faces.video_tracks import MAIN_SEEN_RATE

GATE = 1.0  # mean distance beyond which two tracks are not the same face, in longer sides of the reference's box
FORBIDDEN = 1e6


@dataclass(frozen=True)
class Matching:
    """For every reference face the index of the predicted track or None, and the predicted tracks left over."""

    predicted: tuple[int | None, ...]
    left_over: tuple[int, ...]


def match_tracks(reference: FaceTracks, predicted: FaceTracks) -> Matching:
    """Pairs of tracks whose faces lie on each other, the cheapest assignment of all (Kuhn 1955).

    The cost of a pair is the mean, over the frames in which the reference sees its face, of the distance between the
    boxes' centres over the longer side of the reference's box, a frame the prediction misses counting as `GATE`. Pairs
    whose mean over the frames both see is above `GATE` are not the same face. Places are compared in the reference's
    frame: a prediction of another size covers the same picture. The order of the tracks on either side is of no matter.
    """
    num_frames = min(reference.num_frames, predicted.num_frames)
    rows, columns = _canonical(reference), _canonical(predicted)
    costs = np.full((len(rows), len(columns)), FORBIDDEN)
    for i, r in enumerate(rows):
        for j, p in enumerate(columns):
            costs[i, j] = _cost(reference.tracks[r], predicted.tracks[p], reference.size, num_frames)
    return _assigned(costs, rows, columns)


def _canonical(tracks: FaceTracks) -> list[int]:
    """Indices in an order that does not depend on the one given, so that equal costs are settled one way."""
    return sorted(range(len(tracks.tracks)), key=lambda i: tracks.tracks[i].box[tracks.tracks[i].seen].tobytes())


def _centres(track: FaceTrack, size: tuple[int, int]) -> np.ndarray:
    """(T, 2) middles of the boxes in pixels of a frame of `size`."""
    box = track.box.astype(np.float64)
    return (box[:, :2] + box[:, 2:]) / 2 * size


def _cost(reference: FaceTrack, predicted: FaceTrack, size: tuple[int, int], num_frames: int) -> float:
    seen, both = reference.seen[:num_frames], (reference.seen[:num_frames] & predicted.seen[:num_frames])
    if not both.any():
        return FORBIDDEN
    apart = (_centres(reference, size)[:num_frames] - _centres(predicted, size)[:num_frames])[both]
    sides = (reference.box[:num_frames, 2:] - reference.box[:num_frames, :2])[both].astype(np.float64) * size
    distances = np.linalg.norm(apart, axis=1) / np.maximum(sides.max(1), 1e-9)
    if distances.mean() > GATE:
        return FORBIDDEN
    return float((distances.sum() + GATE * (seen & ~both).sum()) / seen.sum())


def _assigned(costs: np.ndarray, rows: list[int], columns: list[int]) -> Matching:
    from scipy.optimize import linear_sum_assignment

    found: dict[int, int] = {}
    for i, j in zip(*linear_sum_assignment(costs), strict=True):
        if costs[i, j] < FORBIDDEN:
            found[rows[i]] = columns[j]
    pairs = tuple(found.get(r) for r in range(len(rows)))
    return Matching(pairs, tuple(sorted(set(columns) - set(found.values()))))


def match_source(num_faces: int, predicted: FaceTracks, source: FaceTracks | None = None) -> Matching:
    """For every face of a source image, left to right, the predicted track that animates it.

    As many main faces as the source has are taken from left to right, wherever they are: a method may crop or move its
    source. Where some are gone, they are matched by place to the source's faces, as people start out where they stand.
    Where the source's faces are not known either (drawings, animals), the `num_faces` tracks seen longest each take
    the place they are nearest to, the places being evenly spread.

    Args:
        num_faces: faces of the source.
        source: the tracks of the source image (one frame), if all its faces were found.
    """
    main = [i for i, track in enumerate(predicted.tracks) if track.seen_rate >= MAIN_SEEN_RATE]
    if len(main) == num_faces:
        return _matching(predicted, sorted(main, key=lambda i: _middle(predicted, i)))
    if source is not None and len(source.tracks) == num_faces:
        return _match_still(source, predicted)
    longest = sorted(
        range(len(predicted.tracks)), key=lambda i: (-int(predicted.tracks[i].seen.sum()), _middle(predicted, i))
    )
    kept = sorted(longest[:num_faces], key=lambda i: _middle(predicted, i))
    places = [(i + 0.5) / num_faces for i in range(num_faces)]
    costs = np.array([[abs(place - _middle(predicted, j)) for j in kept] for place in places])
    return _matching(predicted, _assigned(costs.reshape(num_faces, len(kept)), list(range(num_faces)), kept).predicted)


def _matching(predicted: FaceTracks, found: Sequence[int | None]) -> Matching:
    return Matching(tuple(found), tuple(i for i in range(len(predicted.tracks)) if i not in found))


def _middle(tracks: FaceTracks, index: int) -> float:
    """Where across the frame a face is on the whole."""
    track = tracks.tracks[index]
    return float(_centres(track, (1, 1))[track.seen, 0].mean()) if track.seen.any() else 2.0


def _match_still(source: FaceTracks, predicted: FaceTracks) -> Matching:
    """By the distance between a face of the source and where a track is first seen."""
    rows, columns = _canonical(source), _canonical(predicted)
    costs = np.full((len(rows), len(columns)), FORBIDDEN)
    for i, r in enumerate(rows):
        still = source.tracks[r]
        if not still.seen.any():
            continue
        first = int(np.argmax(still.seen))
        side = ((still.box[first, 2:] - still.box[first, :2]) * source.size).max()
        for j, p in enumerate(columns):
            track = predicted.tracks[p]
            if track.seen.any():
                begins = _centres(track, source.size)[int(np.argmax(track.seen))]
                distance = np.linalg.norm(begins - _centres(still, source.size)[first]) / max(side, 1e-9)
                costs[i, j] = distance if distance <= GATE else FORBIDDEN
    return _assigned(costs, rows, columns)
