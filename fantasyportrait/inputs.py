"""Inputs of one video, prepared without the model: portrait, faces, their assignment, frame rate and length."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from exprbench.core.errors import ItemError, UserError
from exprbench.core.progress import say
from exprbench.media import MediaError, open_clip
from fantasyportrait.diffusion.face_masks import (
    coverage_labels,
    face_attention_mask,
    follow_boxes,
    grow_boxes,
    released_labels,
    trilinear_labels,
)
from fantasyportrait.diffusion.windows import Window, count_latent_frames
from fantasyportrait.expression.driver import FaceMotion, FacePoints, LandmarkDetector, find_faces
from fantasyportrait.portrait import (
    Assignment,
    CropResize,
    assign_faces,
    choose_crop_resize,
    find_face_boxes,
    parse_size,
    read_portrait,
)
from fantasyportrait.settings import SamplingConfig
from fantasyportrait.user_masks import check_mask_settings, cover_tokens, mask_boxes, read_masks


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A portrait with its drivers.

    `image` is the portrait after `transform`, (H, W, 3) uint8 RGB; `boxes` are its faces, (P, 4) x0 y0 x1 y1 in pixels
    of `image`. `driver_faces` holds the faces of each driver in use, by the driver's index. `fps` and `num_frames` are
    those of the video to generate. `masks` is the share of each token that the user's masks cover, (P, F, h, w), see
    `cover_tokens`; None for boxes.
    """

    portrait: Path
    drivers: tuple[Path, ...]
    image: np.ndarray
    transform: CropResize
    boxes: np.ndarray
    assignment: Assignment
    driver_faces: dict[int, list[FacePoints]]
    fps: float
    num_frames: int
    masks: np.ndarray | None = None

    @property
    def num_latent_frames(self) -> int:
        """Return the number of latent frames of the whole clip."""
        return count_latent_frames(self.num_frames)

    @property
    def num_driven(self) -> int:
        """Return the number of portrait faces that are driven."""
        return sum(source is not None for source in self.assignment)


def prepare_inputs(
    portrait: Path,
    drivers: Sequence[Path],
    config: SamplingConfig,
    *,
    assignment: Assignment | None = None,
    landmark_detector: LandmarkDetector | None = None,
    masks: Sequence[Path] = (),
) -> Inputs:
    """Read the portrait, find the faces in it and in the drivers, and assign driving faces to portrait faces.

    Args:
        portrait: an image, or a video whose first frame is used.
        drivers: driving videos.
        config: size, frame rate and maximum length.
        assignment: (driver, face) or None for each portrait face; by default, from left to right.
        landmark_detector: by default, MediaPipe.
        masks: images or videos that replace the faces found in the portrait, see `read_masks`.

    Raises:
        UserError: a file cannot be read, a driver shows no face, or the numbers of faces do not match.
    """
    image = read_portrait(portrait)
    fps = config.fps or _read_fps(drivers[0])
    if masks:
        check_mask_settings(len(masks), config)
        regions = read_masks(masks, image.shape[1::-1], fps, config.frames)
    else:
        regions = None
    boxes = mask_boxes(regions) if regions else _find_portrait_boxes(portrait)
    faces = [_find_driver_faces(driver, fps, config, landmark_detector) for driver in drivers]
    return build_inputs(
        image, boxes, faces, config, assignment=assignment, regions=regions, fps=fps, portrait=portrait, drivers=drivers
    )


def build_inputs(
    image: np.ndarray,
    boxes: np.ndarray,
    faces: Sequence[list[FacePoints]],
    config: SamplingConfig,
    *,
    fps: float,
    portrait: Path,
    drivers: Sequence[Path],
    assignment: Assignment | None = None,
    regions: Sequence[np.ndarray] | None = None,
) -> Inputs:
    """Assign the faces of the drivers to those of the portrait, and transform the portrait to the model's input.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: faces of the portrait, (P, 4) in [0, 1] of its size.
        faces: faces of each driver.
        config: size.
        fps: frame rate of the video to generate.
        portrait, drivers: files, or names for messages.
        assignment: as for `prepare_inputs`.
        regions: masks (F, H, W) bool of the portrait's people, in the order of `boxes`.

    Raises:
        UserError: the numbers of faces do not match, or a mask has too few frames.
    """
    counts = [len(people) for people in faces]
    if regions and assignment is None and sum(counts) != len(regions):
        raise UserError(
            f"--masks has {len(regions)} masks, the drivers have {sum(counts)} faces; give a mask for each, or --assign"
        )
    assignment = assign_faces(len(boxes), counts, assignment)
    used = sorted({source[0] for source in assignment if source})
    lengths = [len(faces[i][0].seen) for i in used]
    if len(set(lengths)) > 1:
        say(f"the drivers have {', '.join(map(str, lengths))} frames at {fps:g} fps; the shortest sets the length")
    image_size = (image.shape[1], image.shape[0])
    size = parse_size(config.size) if config.size else None
    transform = choose_crop_resize(image_size, max_side=config.max_side, size=size)
    return Inputs(
        portrait=portrait,
        drivers=tuple(drivers),
        image=transform.apply(image),
        transform=transform,
        boxes=transform.transform_boxes(boxes, image_size),
        assignment=assignment,
        driver_faces={i: faces[i] for i in used},
        fps=fps,
        num_frames=min(lengths),
        masks=cover_tokens(regions, transform, min(lengths)) if regions else None,
    )


def _find_portrait_boxes(portrait: Path) -> np.ndarray:
    try:
        return find_face_boxes(portrait)
    except ItemError as error:
        raise UserError(f"faces in the portrait {portrait} cannot be found: {error}") from error


def _find_driver_faces(
    driver: Path, fps: float, config: SamplingConfig, landmark_detector: LandmarkDetector | None
) -> list[FacePoints]:
    try:
        return find_faces(driver, fps=fps, max_frames=config.frames or None, landmark_detector=landmark_detector)
    except MediaError as error:
        raise UserError(f"the driver {driver} cannot be read: {error}") from error
    except ItemError as error:
        raise UserError(f"the driver {driver} cannot be used: {error}") from error


def _read_fps(driver: Path) -> float:
    try:
        with open_clip(driver, max_frames=1) as clip:
            return clip.info.fps
    except MediaError as error:
        raise UserError(f"the driver {driver} cannot be read: {error}") from error


def compute_face_boxes(
    inputs: Inputs, motions: dict[int, list[FaceMotion]], config: SamplingConfig
) -> np.ndarray | None:
    """Compute boxes (P, F, 4) of the portrait's faces through the clip, in pixels; F is 1 if they are fixed.

    Return None if no boxes are needed: at most one face, the user's own masks, or masks turned off.
    """
    if inputs.masks is not None or len(inputs.boxes) < 2 or config.mask == "none":
        return None
    driver_boxes = np.stack([_driver_boxes(inputs, motions, source) for source in inputs.assignment])
    if config.mask_motion == "fixed":
        return grow_boxes(inputs.boxes, driver_boxes, inputs.transform.size)[:, None]
    return follow_boxes(inputs.boxes, driver_boxes)


def _driver_boxes(inputs: Inputs, motions: dict[int, list[FaceMotion]], source: tuple[int, int] | None) -> np.ndarray:
    num_frames = 4 * inputs.num_latent_frames - 3
    if source is None:  # a face at rest
        return np.tile((0.0, 0.0, 1.0, 1.0), (num_frames, 1))
    return motions[source[0]][source[1]].pad_or_trim(num_frames).boxes.astype(np.float64)


def attention_mask(
    inputs: Inputs, face_boxes: np.ndarray | None, window: Window, config: SamplingConfig
) -> Tensor | None:
    """Build the motion attention mask of one window, (1, f, p, N) bool; None means no masking."""
    driven = [source is not None for source in inputs.assignment]
    num_latent_frames = window.stop - window.start
    if inputs.masks is not None:
        masks = inputs.masks if inputs.masks.shape[1] == 1 else _frames_of(inputs.masks, window)
        return face_attention_mask(coverage_labels(masks, num_latent_frames), driven, config.background)
    if face_boxes is None:
        return None
    boxes = face_boxes if face_boxes.shape[1] == 1 else face_boxes[:, window.frame_slice]
    draw_labels = released_labels if config.mask == "released" else trilinear_labels
    labels = draw_labels(boxes, inputs.transform.size, num_latent_frames)
    return face_attention_mask(labels, driven, config.background)


def _frames_of(masks: np.ndarray, window: Window) -> np.ndarray:
    """Return the frames of a window; the last one is repeated for those beyond the end."""
    frames = np.arange(window.frame_slice.start, window.frame_slice.stop)
    return masks[:, np.minimum(frames, masks.shape[1] - 1)]
