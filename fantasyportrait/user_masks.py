"""The user's own masks: regions of the people in a portrait, white in black images or videos of the portrait's size."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from exprbench.core.errors import UserError
from exprbench.media import MediaError, open_clip, read_image
from fantasyportrait.model.configs import PATCH
from fantasyportrait.portrait import MOVING, CropResize, resize
from fantasyportrait.settings import SamplingConfig

DARK, BRIGHT = 64, 191
MAX_GREY = 0.1  # largest share of pixels that are neither dark nor bright: edges, and compression of videos


def list_mask_files(paths: Sequence[Path]) -> list[Path]:
    """Return mask files in order; of a folder, its files in the order of their names.

    Raises:
        UserError: a file or folder does not exist, or a folder is empty.
    """
    files: list[Path] = []
    for path in paths:
        found = sorted(f for f in path.iterdir() if f.is_file() and f.name[0] != ".") if path.is_dir() else [path]
        if not found or not found[0].exists():
            raise UserError(f"--masks is {path}; expected an image or video for each person, or a folder of them")
        files += found
    return files


def check_mask_settings(num_masks: int, config: SamplingConfig) -> None:
    """Raise UserError if masks would have no effect with the other settings."""
    if config.mask == "none":
        raise UserError("--masks gives the regions of the attention mask, and --mask none turns it off; leave out one")
    if config.mask_motion == "per-frame":
        raise UserError("--mask-motion moves boxes of faces; with --masks, give videos for regions that move")
    if num_masks == 1 and config.background != "none":
        raise UserError("--masks with one mask has an effect only with --background none; add it")


def read_masks(files: Sequence[Path], image_size: tuple[int, int], fps: float, max_frames: int) -> list[np.ndarray]:
    """Read masks as (F, H, W) bool, one per person; F is 1 for images.

    Args:
        files: images and videos.
        image_size: (width, height) of the portrait.
        fps: frame rate at which videos are read.
        max_frames: maximum number of frames; 0 for all.

    Raises:
        UserError: a file cannot be read or is not a mask of this portrait.
    """
    return [check_mask(path.name, list(_read(path, fps, max_frames)), image_size) for path in files]


def _read(path: Path, fps: float, max_frames: int) -> Iterator[np.ndarray]:
    try:
        if path.suffix.lower() not in MOVING:
            yield read_image(path)
        else:
            with open_clip(path, fps=fps, max_frames=max_frames or None) as clip:
                yield from clip
    except MediaError as error:
        raise UserError(f"the mask {path} cannot be read: {error}") from error


def check_mask(name: str, frames: Iterable[np.ndarray], image_size: tuple[int, int]) -> np.ndarray:
    """Return frames (H, W) or (H, W, 3) uint8 as a mask (F, H, W) bool, white being true.

    Raises:
        UserError: they have another size than the portrait, are not black and white, or all black.
    """
    grey = [frame if frame.ndim == 2 else frame.mean(2) for frame in frames]
    height, width = grey[0].shape
    if (width, height) != image_size:
        raise UserError(f"the mask {name} is {width}x{height}; expected {_by(image_size)}, the size of the portrait")
    if grey[0].max() <= DARK:
        raise UserError(f"the mask {name} has no value above {grey[0].max():.0f}; expected 255 where the person is")
    share = float(((grey[0] > DARK) & (grey[0] < BRIGHT)).mean())
    if share > MAX_GREY:
        raise UserError(
            f"the mask {name} is grey in {share:.0%} of its pixels; expected black, and white for the person"
        )
    return np.stack([frame > 127 for frame in grey])


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def mask_boxes(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the boxes (P, 4) x0 y0 x1 y1 around the masks in their first frames, in [0, 1] of the portrait."""
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask[0].any(1)), np.flatnonzero(mask[0].any(0))
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        boxes.append(np.array(box) / np.tile(mask.shape[:0:-1], 2))
    return np.array(boxes)


def cover_tokens(masks: Sequence[np.ndarray], transform: CropResize, num_frames: int) -> np.ndarray:
    """Return the share of each token that masks cover, (P, F, h, w) float32; F is 1 if all masks are images.

    Args:
        masks: (F, H, W) bool each, of the portrait before `transform`.
        transform: of the portrait.
        num_frames: number of frames of the video to generate.

    Raises:
        UserError: a video has too few frames.
    """
    for i, mask in enumerate(masks):
        if 1 < len(mask) < num_frames:
            raise UserError(
                f"mask {i} of --masks has {len(mask)} frames; expected {num_frames}, as the video has, or 1"
            )
    length = max(map(len, masks))
    covered = [np.stack([_cover(frame, transform) for frame in mask[:num_frames]]) for mask in masks]
    return np.stack([np.broadcast_to(c, (min(length, num_frames), *c.shape[1:])) for c in covered])


def _cover(frame: np.ndarray, transform: CropResize) -> np.ndarray:
    width, height = (n // PATCH for n in transform.size)
    x0, y0, x1, y1 = transform.crop
    cropped = np.ascontiguousarray(frame[y0:y1, x0:x1]).astype(np.uint8) * 255
    pixels = resize(cropped, transform.size).astype(np.float32) / 255
    return pixels.reshape(height, PATCH, width, PATCH).mean((1, 3))
