"""Where each person's face is, on the grid of the video encoder."""

from pathlib import Path

import cv2
import numpy as np

from exprbench.core.arrays import pack_arrays, unpack_arrays
from exprbench.core.files import write_bytes
from exprbench.faces import FaceTracks

CELL = 8  # pixels of the frame a cell of the encoder's grid spans (Wan2.1's VAE)


def face_masks(tracks: FaceTracks) -> np.ndarray:
    """(P, T, ceil(H / 8), ceil(W / 8)) uint8: how much of each cell a person's face covers, 255 being all of it.

    The face is the convex hull of its landmarks. People come as in the tracks, left to right; where one is not seen,
    the mask is empty. Averaging is what trilinear interpolation to the latent grid begins with: along the frame's
    sides it is done here, along time it is left to the trainer.
    """
    height, width = -(-tracks.height // CELL), -(-tracks.width // CELL)
    masks = np.zeros((len(tracks.tracks), tracks.num_frames, height, width), np.uint8)
    size = tracks.width, tracks.height
    for person, track in enumerate(tracks.tracks):
        for t in np.flatnonzero(track.seen):
            masks[person, t] = _coverage(track.landmarks[t, :, :2] * size, height, width)
    return masks


def _coverage(points: np.ndarray, height: int, width: int) -> np.ndarray:
    canvas = np.zeros((height * CELL, width * CELL), np.uint8)
    hull = cv2.convexHull(np.round(points).astype(np.int32))
    cv2.fillConvexPoly(canvas, hull, 255)
    parts = canvas.reshape(height, CELL, width, CELL).astype(np.uint16)
    return (parts.sum((1, 3)) // CELL**2).astype(np.uint8)


def save_masks(path: Path, masks: np.ndarray) -> None:
    """Write masks as a compressed `.npz` with one array, `masks`."""
    write_bytes(path, pack_arrays({"masks": masks}, compressed=True))


def load_masks(path: Path) -> np.ndarray:
    """Masks as `face_masks` gives them."""
    return unpack_arrays(path.read_bytes())["masks"]
