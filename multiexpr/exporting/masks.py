"""Face masks: the coverage of each person's face on the latent grid of the video encoder."""

from pathlib import Path

import cv2
import numpy as np

from exprbench.core.arrays import pack_arrays, unpack_arrays
from exprbench.core.files import write_bytes
from exprbench.faces import FaceTracks

CELL = 8  # side in pixels of a cell of the latent grid (spatial stride of Wan2.1's VAE)


def face_masks(tracks: FaceTracks) -> np.ndarray:
    """Return the share of each cell that each face covers, (P, T, ceil(H / 8), ceil(W / 8)) uint8, 255 for all of it.

    A face is the convex hull of the pixels that contain its landmarks. People are in the order of the tracks, left to
    right. The mask is zero in frames without the face. Masks are averaged over space only: interpolation over time, to
    the latent frames, is left to the trainer.
    """
    height, width = -(-tracks.height // CELL), -(-tracks.width // CELL)
    masks = np.zeros((len(tracks.tracks), tracks.num_frames, height, width), np.uint8)
    size = tracks.width, tracks.height
    for person, track in enumerate(tracks.tracks):
        for t in np.flatnonzero(track.seen):
            masks[person, t] = _coverage(track.landmarks[t, :, :2] * size, height, width)
    return masks


def _coverage(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the coverage (height, width) of the cells by the hull of points (N, 2) in pixels."""
    coverage = np.zeros((height, width), np.uint8)
    hull = cv2.convexHull(np.floor(points).astype(np.int32))
    left, top = np.maximum(hull.min((0, 1)) // CELL, 0)
    right, bottom = np.minimum(hull.max((0, 1)) // CELL + 1, (width, height))
    if left < right and top < bottom:  # else the face is outside the frame
        canvas = np.zeros(((bottom - top) * CELL, (right - left) * CELL), np.uint8)
        cv2.fillConvexPoly(canvas, hull - np.array([left, top], np.int32) * CELL, 255)
        cells = canvas.reshape(bottom - top, CELL, right - left, CELL)
        coverage[top:bottom, left:right] = cells.sum((1, 3), dtype=np.uint16) // CELL**2
    return coverage


def save_masks(path: Path, masks: np.ndarray) -> None:
    """Write masks as a compressed `.npz` with one array, `masks`."""
    write_bytes(path, pack_arrays({"masks": masks}, compressed=True))


def load_masks(path: Path) -> np.ndarray:
    """Return masks written by `save_masks`, in the format of `face_masks`."""
    return unpack_arrays(path.read_bytes())["masks"]
