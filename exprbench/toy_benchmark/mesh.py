"""MediaPipe's face mesh as a graph: indices of brows, eyes, nose and lips among the 468 points, and their connections.

Only the numbering and the connections are MediaPipe's (Apache-2.0); the positions are designed in `head`.
"""

import json
from functools import cache
from importlib.resources import files

import numpy as np

NUM_MESH = 468
MIDLINE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2)

# Clockwise in the image, from the middle of the forehead.
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
OVAL += (152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)

# From the outer to the inner end; the person's right side (left in the image) comes first.
UPPER_LID = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
LOWER_LID = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362))
UPPER_BROW = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))
LOWER_BROW = ((46, 53, 52, 65, 55), (276, 283, 282, 295, 285))
WING = ((45, 220, 115, 48, 64, 98, 97), (275, 440, 344, 278, 294, 327, 326))

# From the person's right corner to the left one; outside to inside, top to bottom.
LIPS = (
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
)

# Centre, then the rim at the viewer's right, top, left and bottom.
IRISES = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))


@cache
def laplacian() -> np.ndarray:
    """Return the graph Laplacian (468, 468) of the mesh."""
    neighbours = json.loads((files(__package__) / "mesh.json").read_text(encoding="utf-8"))
    edges = np.array([(int(a), b) for a, others in neighbours.items() for b in others])
    matrix = np.zeros((NUM_MESH, NUM_MESH))
    matrix[edges[:, 0], edges[:, 1]] = matrix[edges[:, 1], edges[:, 0]] = -1
    np.fill_diagonal(matrix, -matrix.sum(1))
    return matrix


def spread(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return values (468, ...) at all points from values at some: each other point gets the mean of its neighbours.

    Args:
        known: (k,) indices of the points with values.
        values: (k, ...) values at these points.
    """
    unknown = np.setdiff1d(np.arange(NUM_MESH), known)
    flat = values.reshape(len(known), -1)
    matrix = laplacian()
    whole = np.empty((NUM_MESH, flat.shape[1]))
    whole[known] = flat
    whole[unknown] = np.linalg.solve(matrix[np.ix_(unknown, unknown)], -matrix[np.ix_(unknown, known)] @ flat)
    return whole.reshape(NUM_MESH, *values.shape[1:])
