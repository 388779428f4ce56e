"""What is to be made, worked out before anything heavy is loaded: picture, people, who drives whom, rate and length."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from exprbench.core.errors import ItemError, UserError
from exprbench.core.progress import say
from exprbench.media import MediaError, open_clip
from fantasyportrait.diffusion.face_masks import (
    face_attention_mask,
    follow_boxes,
    grow_boxes,
    released_labels,
    trilinear_labels,
)
from fantasyportrait.diffusion.windows import Window, num_latent_frames
from fantasyportrait.expression.driver import FaceMotion, FacePoints, PointFinder, find_faces
from fantasyportrait.portrait import Fit, Pairs, assign, find_boxes, fit, parse_size, read_portrait
from fantasyportrait.settings import SamplingConfig


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A portrait and its drivers.

    `boxes` are the portrait's faces, (P, 4) in pixels of `image`; `people` the faces of each driver in use, by the
    driver's number; `fps` and `num_frames` those of the video to make.
    """

    portrait: Path
    drivers: tuple[Path, ...]
    image: np.ndarray
    fit: Fit
    boxes: np.ndarray
    pairs: Pairs
    people: dict[int, list[FacePoints]]
    fps: float
    num_frames: int

    @property
    def num_latent(self) -> int:
        """Latent frames of the whole clip."""
        return num_latent_frames(self.num_frames)

    @property
    def num_driven(self) -> int:
        """People with motion."""
        return sum(pair is not None for pair in self.pairs)


def prepare_inputs(
    portrait: Path,
    drivers: Sequence[Path],
    options: SamplingConfig,
    *,
    given: Pairs | None = None,
    finder: PointFinder | None = None,
) -> Inputs:
    """Read the picture, find the faces, and settle who is driven by whom.

    Raises:
        UserError: a file cannot be read, shows no face, or the faces do not match.
    """
    image, boxes = read_portrait(portrait), _boxes(portrait)
    fps = options.fps or _rate(drivers[0])
    people = {}
    for i, driver in enumerate(drivers):
        try:
            people[i] = find_faces(driver, fps=fps, max_frames=options.frames or None, finder=finder)
        except MediaError as error:
            raise UserError(f"the driver {driver} cannot be read: {error}") from error
        except ItemError as error:
            raise UserError(f"the driver {driver} is of no use: {error}") from error
    pairs = assign(len(boxes), [len(found) for found in people.values()], given)
    used = sorted({pair[0] for pair in pairs if pair})
    lengths = [len(people[i][0].seen) for i in used]
    if len(set(lengths)) > 1:
        say(f"the drivers have {', '.join(map(str, lengths))} frames at {fps:g} a second; the shortest counts")
    size = (image.shape[1], image.shape[0])
    fitted = fit(size, max_side=options.max_side, size=parse_size(options.size) if options.size else None)
    return Inputs(
        portrait=portrait,
        drivers=tuple(drivers),
        image=fitted.image(image),
        fit=fitted,
        boxes=fitted.boxes(boxes, size),
        pairs=pairs,
        people={i: people[i] for i in used},
        fps=fps,
        num_frames=min(lengths),
    )


def _boxes(portrait: Path) -> np.ndarray:
    try:
        return find_boxes(portrait)
    except ItemError as error:
        raise UserError(f"faces in the portrait {portrait} cannot be found: {error}") from error


def _rate(driver: Path) -> float:
    try:
        with open_clip(driver, max_frames=1) as clip:
            return clip.info.fps
    except MediaError as error:
        raise UserError(f"the driver {driver} cannot be read: {error}") from error


def face_boxes(inputs: Inputs, motions: dict[int, list[FaceMotion]], options: SamplingConfig) -> np.ndarray | None:
    """Boxes (P, F, 4) of the portrait's faces through the clip, in pixels; F is 1 where they stay.

    None where there is nothing to tell apart: one face or none, or no masks wanted.
    """
    if len(inputs.boxes) < 2 or options.mask == "none":
        return None
    rects = np.stack([_driver_boxes(inputs, motions, pair) for pair in inputs.pairs])
    if options.mask_motion == "fixed":
        return grow_boxes(inputs.boxes, rects, inputs.fit.size)[:, None]
    return follow_boxes(inputs.boxes, rects)


def _driver_boxes(inputs: Inputs, motions: dict[int, list[FaceMotion]], pair: tuple[int, int] | None) -> np.ndarray:
    count = 4 * inputs.num_latent - 3
    if pair is None:  # a face at rest
        return np.tile((0.0, 0.0, 1.0, 1.0), (count, 1))
    return motions[pair[0]][pair[1]].frames(count).boxes.astype(np.float64)


def attention_mask(inputs: Inputs, faces: np.ndarray | None, window: Window, options: SamplingConfig) -> Tensor | None:
    """Who sees whom in one window, (1, f, p, N); None: everybody sees everybody driven."""
    if faces is None:
        return None
    boxes = faces if faces.shape[1] == 1 else faces[:, window.frames]
    draw = released_labels if options.mask == "released" else trilinear_labels
    labels = draw(boxes, inputs.fit.size, window.stop - window.start)
    return face_attention_mask(labels, [pair is not None for pair in inputs.pairs], options.background)
