"""Match the faces of a prediction to those of its reference: once per video, on tracks, so that faces cannot swap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exprbench.faces import FaceTrack, FaceTracks
from exprbench.faces.video_tracks import MAIN_SEEN_RATE

GATE = 1.0  # maximum mean distance of two tracks of one face, in longer sides of the reference's box
FORBIDDEN = 1e6


@dataclass(frozen=True)
class Matching:
    """For each reference face the index of the predicted track or None, and the unmatched predicted tracks."""

    predicted: tuple[int | None, ...]
    left_over: tuple[int, ...]


def match_tracks(reference: FaceTracks, predicted: FaceTracks) -> Matching:
    """Return the assignment of predicted to reference tracks with minimum total distance (Kuhn 1955).

    The cost of a pair is the mean, over the frames in which the reference's face is seen, of the distance between the
    centres of the boxes over the longer side of the reference's box; a frame without the predicted face costs `GATE`.
    Pairs whose mean distance over common frames is above `GATE` cannot match. Positions are relative to the frame, so
    the prediction can have another size. The result does not depend on the order of the tracks.
    """
    num_frames = min(reference.num_frames, predicted.num_frames)
    rows, columns = _canonical(reference), _canonical(predicted)
    costs = np.full((len(rows), len(columns)), FORBIDDEN)
    for i, r in enumerate(rows):
        for j, p in enumerate(columns):
            costs[i, j] = _cost(reference.tracks[r], predicted.tracks[p], reference.size, num_frames)
    return _assign(costs, rows, columns)


def _canonical(tracks: FaceTracks) -> list[int]:
    """Return the indices of the tracks in an order that depends only on their content, which resolves ties."""
    return sorted(range(len(tracks.tracks)), key=lambda i: tracks.tracks[i].box[tracks.tracks[i].seen].tobytes())


def _centres(track: FaceTrack, size: tuple[int, int]) -> np.ndarray:
    """Return the centres (T, 2) of the boxes in pixels of a frame of `size`."""
    box = track.box.astype(np.float64)
    return (box[:, :2] + box[:, 2:]) / 2 * size


def _cost(reference: FaceTrack, predicted: FaceTrack, size: tuple[int, int], num_frames: int) -> float:
    seen, both = reference.seen[:num_frames], (reference.seen[:num_frames] & predicted.seen[:num_frames])
    if not both.any():
        return FORBIDDEN
    differences = (_centres(reference, size)[:num_frames] - _centres(predicted, size)[:num_frames])[both]
    sides = (reference.box[:num_frames, 2:] - reference.box[:num_frames, :2])[both].astype(np.float64) * size
    distances = np.linalg.norm(differences, axis=1) / np.maximum(sides.max(1), 1e-9)
    if distances.mean() > GATE:
        return FORBIDDEN
    return float((distances.sum() + GATE * (seen & ~both).sum()) / seen.sum())


def _assign(costs: np.ndarray, rows: list[int], columns: list[int]) -> Matching:
    from scipy.optimize import linear_sum_assignment

    matches: dict[int, int] = {}
    for i, j in zip(*linear_sum_assignment(costs), strict=True):
        if costs[i, j] < FORBIDDEN:
            matches[rows[i]] = columns[j]
    pairs = tuple(matches.get(r) for r in range(len(rows)))
    return Matching(pairs, tuple(sorted(set(columns) - set(matches.values()))))


def match_source(num_faces: int, predicted: FaceTracks, source: FaceTracks | None = None) -> Matching:
    """Return the predicted track that animates each face of a source image, left to right.

    If the prediction has `num_faces` main faces, they are matched from left to right at any position, because a method
    can crop or shift its source. Otherwise they are matched to the source's faces by the position in which they are
    first seen. If the source's faces are unknown (drawings, animals), the `num_faces` tracks seen longest are matched
    to evenly spaced positions.

    Args:
        num_faces: number of faces of the source.
        predicted: tracks of the prediction.
        source: tracks of the source image (one frame), if all its faces were detected.
    """
    main = [i for i, track in enumerate(predicted.tracks) if track.seen_rate >= MAIN_SEEN_RATE]
    if len(main) == num_faces:
        return _matching(predicted, sorted(main, key=lambda i: _mean_x(predicted, i)))
    if source is not None and len(source.tracks) == num_faces:
        return _match_still(source, predicted)
    longest = sorted(
        range(len(predicted.tracks)), key=lambda i: (-int(predicted.tracks[i].seen.sum()), _mean_x(predicted, i))
    )
    kept = sorted(longest[:num_faces], key=lambda i: _mean_x(predicted, i))
    positions = [(i + 0.5) / num_faces for i in range(num_faces)]
    costs = np.array([[abs(x - _mean_x(predicted, j)) for j in kept] for x in positions])
    return _matching(predicted, _assign(costs.reshape(num_faces, len(kept)), list(range(num_faces)), kept).predicted)


def _matching(predicted: FaceTracks, matches: Sequence[int | None]) -> Matching:
    return Matching(tuple(matches), tuple(i for i in range(len(predicted.tracks)) if i not in matches))


def _mean_x(tracks: FaceTracks, index: int) -> float:
    """Return the mean horizontal position of a face, in [0, 1] of the frame; 2 if it is never seen."""
    track = tracks.tracks[index]
    return float(_centres(track, (1, 1))[track.seen, 0].mean()) if track.seen.any() else 2.0


def _match_still(source: FaceTracks, predicted: FaceTracks) -> Matching:
    """Return the matching by distance between a face of the source and the position in which a track is first seen."""
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
                start = _centres(track, source.size)[int(np.argmax(track.seen))]
                distance = np.linalg.norm(start - _centres(still, source.size)[first]) / max(side, 1e-9)
                costs[i, j] = distance if distance <= GATE else FORBIDDEN
    return _assign(costs, rows, columns)
