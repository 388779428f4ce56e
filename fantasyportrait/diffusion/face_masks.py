"""Face regions: from boxes in pixels to a label for every latent token, and the mask of motion attention.

Legend: P faces in the portrait, left to right; N driven faces; F video frames, f latent frames; h, w rows and columns
of tokens (16 pixels each). Labels: 0 is background, i the i-th face from the left, counted from 1.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fantasyportrait.model.configs import PATCH

MAX_GROWTH = 0.25


def grow_boxes(boxes: np.ndarray, driver_boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Extend each side of the portrait's boxes as far as the driving face moves beyond its first position.

    Args:
        boxes: (P, 4) x0 y0 x1 y1 in pixels.
        driver_boxes: (P, F, 4) driving face of each portrait face through the clip, in any unit; constant for a face at
            rest.
        size: (width, height) of the image.

    Returns:
        (P, 4) integers within the image. A side grows by at most a quarter of the face, as in the released code.
    """
    first = driver_boxes[:, 0]
    face_size = np.tile(first[:, 2:] - first[:, :2], 2)
    outwards = np.array([-1, -1, 1, 1])
    excess = ((driver_boxes - driver_boxes[:, :1]) * outwards).max(1) / face_size
    growth = np.clip(excess, 0, MAX_GROWTH) * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    limits = np.tile(np.array(size), 2)
    return np.clip(np.trunc(boxes + growth * outwards).astype(int), 0, limits)


def follow_boxes(boxes: np.ndarray, driver_boxes: np.ndarray) -> np.ndarray:
    """Move and scale the portrait's boxes (P, 4) with the driving faces (P, F, 4), relative to the size of the face.

    Returns:
        (P, F, 4) in pixels.
    """
    first = driver_boxes[:, :1]
    scale = np.tile((boxes[:, 2:] - boxes[:, :2])[:, None] / (first[..., 2:] - first[..., :2]), 2)
    return boxes[:, None] + (driver_boxes - first) * scale


def released_labels(boxes: np.ndarray, size: tuple[int, int], num_latent_frames: int) -> Tensor:
    """Compute labels (f, h, w) as in the released code: a token has the label of the last face that touches it.

    Args:
        boxes: (P, F, 4) in pixels; F is 1 for fixed faces, else 4 f - 3.
        size: (width, height).
        num_latent_frames: f.
    """
    width, height = size
    canvas = torch.zeros(1, boxes.shape[1], height, width)
    for label, face_boxes in enumerate(boxes, 1):
        for t, (x0, y0, x1, y1) in enumerate(face_boxes.astype(int).clip(0)):
            canvas[:, t, y0:y1, x0:x1] = label
    labels = F.max_pool2d(canvas, PATCH)
    if labels.shape[1] > 1:  # the first frame is one latent frame, each four that follow are another
        rest = F.max_pool3d(labels[:, 1:].unsqueeze(0), (4, 1, 1))[0]
        labels = torch.cat([labels[:, :1], rest], 1)
    return labels[0].long().expand(num_latent_frames, -1, -1)


def trilinear_labels(boxes: np.ndarray, size: tuple[int, int], num_latent_frames: int) -> Tensor:
    """Compute labels (f, h, w) from face masks that are interpolated trilinearly to the latent grid, as in the paper.

    A token has the label of the face that covers at least half of it; if several do, of the face whose centre is
    nearest in units of the face's size. A face too small to cover half of any token has the token it covers most.

    Args:
        boxes: (P, F, 4) in pixels; F is 1 for fixed faces.
        size: (width, height), multiples of 16.
        num_latent_frames: f.
    """
    coverage = torch.stack([_coverage(face_boxes, size, num_latent_frames) for face_boxes in boxes])
    distances = torch.stack([_centre_distance(face_boxes, size, num_latent_frames) for face_boxes in boxes])
    is_covered = coverage >= 0.5
    best = coverage.flatten(2).amax(2)[..., None, None]
    is_covered |= (best < 0.5) & (coverage == best) & (coverage > 0)
    nearest = torch.where(is_covered, distances, torch.inf).argmin(0)
    return torch.where(is_covered.any(0), nearest + 1, 0)


def coverage_labels(coverage: np.ndarray, num_latent_frames: int) -> Tensor:
    """Compute labels (f, h, w) from the share of each token that masks cover.

    A latent frame has the mean of its video frames: one for the first, four for the others. A token has the label of
    the mask that covers most of it, if that is at least half. A mask too small for that has the token it covers most.

    Args:
        coverage: (P, F, h, w) in [0, 1]; F is 1 for fixed masks. If F is below 4 f - 3, the last frame is repeated.
        num_latent_frames: f.
    """
    shares = torch.from_numpy(np.ascontiguousarray(coverage))
    if shares.shape[1] == 1:
        shares = shares.expand(-1, num_latent_frames, -1, -1)
    else:
        frames = torch.arange(4 * num_latent_frames - 3).clamp_max(shares.shape[1] - 1)
        shares = shares[:, frames]
        shares = torch.cat([shares[:, :1], shares[:, 1:].unflatten(1, (-1, 4)).mean(2)], 1)
    best = shares.flatten(2).amax(2)[..., None, None]
    is_covered = (shares >= 0.5) | ((best < 0.5) & (shares == best) & (shares > 0))
    most = torch.where(is_covered, shares, -1).argmax(0)
    return torch.where(is_covered.any(0), most + 1, 0)


def _coverage(boxes: np.ndarray, size: tuple[int, int], num_latent_frames: int) -> Tensor:
    """Interpolate one face's mask to the latent grid: covered share of each token, (f, h, w) in [0, 1]."""
    width, height = size
    mask = torch.zeros(1, 1, len(boxes), height, width)
    for t, box in enumerate(boxes):
        x0, y0, x1, y1 = (max(0, round(float(v))) for v in box)
        mask[..., t, y0:y1, x0:x1] = 1
    grid = (num_latent_frames, height // PATCH, width // PATCH)
    return F.interpolate(mask, size=grid, mode="trilinear", align_corners=False)[0, 0]


def _centre_distance(boxes: np.ndarray, size: tuple[int, int], num_latent_frames: int) -> Tensor:
    """Return the distance of each token from the face's centre in units of the face's size, (f, h, w)."""
    width, height = size
    frames = torch.linspace(0, len(boxes) - 1, num_latent_frames).round().long()
    x0, y0, x1, y1 = torch.from_numpy(np.asarray(boxes, np.float32))[frames].unbind(1)
    rows = (torch.arange(height // PATCH) + 0.5) * PATCH
    columns = (torch.arange(width // PATCH) + 0.5) * PATCH
    dx = (columns[None] - (x0 + x1)[:, None] / 2) / (x1 - x0).clamp_min(1)[:, None]
    dy = (rows[None] - (y0 + y1)[:, None] / 2) / (y1 - y0).clamp_min(1)[:, None]
    return (dx[:, None] ** 2 + dy[:, :, None] ** 2).sqrt()


def face_attention_mask(labels: Tensor, driven: list[bool], background: str) -> Tensor:
    """Build the mask (1, f, h w, N) bool of the driven faces that each token attends to.

    Args:
        labels: (f, h, w).
        driven: whether each face of the portrait is driven; driven faces have motion tokens in this order.
        background: faces that background tokens attend to: `all` (as released), `nearest` or `none`.
    """
    driven_labels = torch.tensor([i for i, is_driven in enumerate(driven, 1) if is_driven])
    if background == "nearest":
        labels = torch.stack([_fill_background(frame) for frame in labels])
    mask = labels.flatten(1)[..., None] == driven_labels
    if background == "all":
        mask = mask | (labels.flatten(1)[..., None] == 0)
    return mask.unsqueeze(0)


def _fill_background(labels: Tensor) -> Tensor:
    """Return labels (h, w) in which the background has the label of the nearest face."""
    from scipy.ndimage import distance_transform_edt

    if not labels.any():
        return labels
    nearest = distance_transform_edt(labels.numpy() == 0, return_distances=False, return_indices=True)
    return labels[tuple(torch.from_numpy(nearest).long())]
