"""Whose face is where: from boxes in pixels to the region of every latent token, and who attends to whom.

Legend: P faces in the portrait, left to right; N driven ones; F video frames, f latent frames; h, w token rows and
columns (16 pixels each). Labels: 0 background, i the i-th face from the left, counted from 1.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fantasyportrait.model.configs import PATCH

MAX_GROWTH = 0.25


def grow_boxes(boxes: np.ndarray, rects: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Portrait boxes, each side grown as far as the driver's face moves beyond its first place.

    Args:
        boxes: (P, 4) x0 y0 x1 y1 in pixels.
        rects: (P, F, 4) the driver's face through the clip, in any unit; one that does not move for a face at rest.
        size: (width, height) of the picture.

    Returns:
        (P, 4) integers within the picture. A side grows by at most a quarter of the face, as released.
    """
    first = rects[:, 0]
    face = np.tile(first[:, 2:] - first[:, :2], 2)
    outwards = np.array([-1, -1, 1, 1])
    moved = ((rects - rects[:, :1]) * outwards).max(1) / face
    growth = np.clip(moved, 0, MAX_GROWTH) * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    limits = np.tile(np.array(size), 2)
    return np.clip(np.trunc(boxes + growth * outwards).astype(int), 0, limits)


def follow_boxes(boxes: np.ndarray, rects: np.ndarray) -> np.ndarray:
    """Portrait boxes that move and grow with the driver's face, (P, F, 4), in units of the face's own size."""
    first = rects[:, :1]
    scale = np.tile((boxes[:, 2:] - boxes[:, :2])[:, None] / (first[..., 2:] - first[..., :2]), 2)
    return boxes[:, None] + (rects - first) * scale


def released_labels(boxes: np.ndarray, size: tuple[int, int], num_latent: int) -> Tensor:
    """Labels (f, h, w) as the released code draws them: a patch that a face touches is the face's, the last one's.

    Args:
        boxes: (P, F, 4) in pixels; F is 1 for faces that stay, or 4 f - 3.
        size: (width, height).
        num_latent: f.
    """
    width, height = size
    canvas = torch.zeros(1, boxes.shape[1], height, width)
    for label, through in enumerate(boxes, 1):
        for t, (x0, y0, x1, y1) in enumerate(through.astype(int).clip(0)):
            canvas[:, t, y0:y1, x0:x1] = label
    labels = F.max_pool2d(canvas, PATCH)
    if labels.shape[1] > 1:  # the first frame is a latent frame, every four that follow are one
        rest = F.max_pool3d(labels[:, 1:].unsqueeze(0), (4, 1, 1))[0]
        labels = torch.cat([labels[:, :1], rest], 1)
    return labels[0].long().expand(num_latent, -1, -1)


def trilinear_labels(boxes: np.ndarray, size: tuple[int, int], num_latent: int) -> Tensor:
    """Labels (f, h, w) from face masks brought to the latent grid by trilinear interpolation, as the paper has it.

    Args:
        boxes: (P, F, 4) in pixels; F is 1 for faces that stay.
        size: (width, height), multiples of 16.
        num_latent: f.

    A token is the face's that covers at least half of it; where several do, the one whose middle is nearest in units
    of its size. A face too small to cover any keeps the token it covers most.
    """
    shares = torch.stack([_share(face_boxes, size, num_latent) for face_boxes in boxes])
    reach = torch.stack([_distance(face_boxes, size, num_latent) for face_boxes in boxes])
    covers = shares >= 0.5
    best = shares.flatten(2).amax(2)[..., None, None]
    covers |= (best < 0.5) & (shares == best) & (shares > 0)
    nearest = torch.where(covers, reach, torch.inf).argmin(0)
    return torch.where(covers.any(0), nearest + 1, 0)


def _share(boxes: np.ndarray, size: tuple[int, int], num_latent: int) -> Tensor:
    """Trilinear interpolation of one face's mask, (f, h, w) in [0, 1]."""
    width, height = size
    mask = torch.zeros(1, 1, len(boxes), height, width)
    for t, box in enumerate(boxes):
        x0, y0, x1, y1 = (max(0, round(float(v))) for v in box)
        mask[..., t, y0:y1, x0:x1] = 1
    grid = (num_latent, height // PATCH, width // PATCH)
    return F.interpolate(mask, size=grid, mode="trilinear", align_corners=False)[0, 0]


def _distance(boxes: np.ndarray, size: tuple[int, int], num_latent: int) -> Tensor:
    """How far each token is from the face's middle, in units of the face, (f, h, w)."""
    width, height = size
    at = torch.linspace(0, len(boxes) - 1, num_latent).round().long()
    x0, y0, x1, y1 = torch.from_numpy(np.asarray(boxes, np.float32))[at].unbind(1)
    rows = (torch.arange(height // PATCH) + 0.5) * PATCH
    columns = (torch.arange(width // PATCH) + 0.5) * PATCH
    across = (columns[None] - (x0 + x1)[:, None] / 2) / (x1 - x0).clamp_min(1)[:, None]
    down = (rows[None] - (y0 + y1)[:, None] / 2) / (y1 - y0).clamp_min(1)[:, None]
    return (across[:, None] ** 2 + down[:, :, None] ** 2).sqrt()


def face_attention_mask(labels: Tensor, driven: list[bool], background: str) -> Tensor:
    """Whom every token attends to, (1, f, h w, N) bool.

    Args:
        labels: (f, h, w).
        driven: of each face in the portrait, is it driven? Those that are have tokens, in this order.
        background: `all` (as released), `nearest` or `none`.
    """
    people = torch.tensor([i for i, is_driven in enumerate(driven, 1) if is_driven])
    if background == "nearest":
        labels = torch.stack([_spread(frame) for frame in labels])
    mask = labels.flatten(1)[..., None] == people
    if background == "all":
        mask = mask | (labels.flatten(1)[..., None] == 0)
    return mask.unsqueeze(0)


def _spread(labels: Tensor) -> Tensor:
    """(h, w) labels in which the background has become the nearest face's."""
    from scipy.ndimage import distance_transform_edt

    if not labels.any():
        return labels
    nearest = distance_transform_edt(labels.numpy() == 0, return_distances=False, return_indices=True)
    return labels[tuple(torch.from_numpy(nearest).long())]
