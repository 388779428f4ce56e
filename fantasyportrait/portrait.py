"""The portrait: its size, its faces, and the assignment of driving faces to them."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exprbench.core.errors import UserError
from exprbench.faces.tracks import FaceTracks, TracksError
from exprbench.media import VIDEO_SUFFIXES, MediaError, open_clip, read_image
from fantasyportrait.model.configs import PATCH

Assignment = tuple[tuple[int, int] | None, ...]  # (driver, face) for each portrait face; None: a face at rest
MOVING = (*VIDEO_SUFFIXES, ".gif")


def read_portrait(path: Path) -> np.ndarray:
    """Read an image, or the first frame of a video, as (H, W, 3) uint8 RGB.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        if path.suffix.lower() not in MOVING:
            return read_image(path)
        with open_clip(path, max_frames=1) as clip:
            return next(iter(clip))
    except MediaError as error:
        raise UserError(f"the portrait {path} cannot be read: {error}") from error


def find_face_boxes(path: Path) -> np.ndarray:
    """Return the boxes (P, 4) x0 y0 x1 y1 of a portrait's faces, left to right, in [0, 1] of its size."""
    return select_boxes(_find_tracks(path))


def select_boxes(tracks: FaceTracks) -> np.ndarray:
    """Return the boxes (P, 4) of the faces in the first frame of tracks, left to right."""
    boxes = [track.box[0] for track in tracks.tracks if track.seen[0]]
    return np.array(sorted(boxes, key=lambda box: box[0] + box[2]), np.float64).reshape(-1, 4)


def _find_tracks(path: Path) -> FaceTracks:
    """Return the faces of an image or of a video's first frame.

    If an image cannot be tracked, use the tracks given for a video of the same name: the image is its first frame.
    """
    from exprbench.faces.video_tracks import given_tracks, track_faces, track_image

    if path.suffix.lower() in MOVING:
        return track_faces(path, max_frames=1).first(1)
    try:
        return track_image(path)
    except TracksError:
        for video in sorted(path.parent.glob(f"{path.stem}.*")):
            if video.suffix.lower() in MOVING and (tracks := given_tracks(video)):
                return tracks.first(1)
        raise


@dataclass(frozen=True)
class CropResize:
    """Transform from the portrait to the model's input: crop to `crop` (x0, y0, x1, y1), then resize to `size`.

    All sizes are (width, height) in pixels. The sides of `size` are multiples of 16; frames of the video are resized to
    `output_size`.
    """

    crop: tuple[int, int, int, int]
    size: tuple[int, int]
    output_size: tuple[int, int]

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Crop and resize an (H, W, 3) uint8 image."""
        x0, y0, x1, y1 = self.crop
        return resize(image[y0:y1, x0:x1], self.size)

    def transform_boxes(self, boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """Convert boxes in [0, 1] of the portrait to pixels of the model's input."""
        x0, y0, x1, y1 = self.crop
        pixels = boxes * np.tile(image_size, 2) - (x0, y0, x0, y0)
        return pixels * np.tile([self.size[0] / (x1 - x0), self.size[1] / (y1 - y0)], 2)


def choose_crop_resize(
    image_size: tuple[int, int], *, max_side: int = 720, size: tuple[int, int] | None = None
) -> CropResize:
    """Choose the transform of a (width, height) portrait to `size`, or to a longer side of `max_side`.

    With `size`, the portrait is centre-cropped to its aspect ratio; without, all of it is kept. Sides are rounded up to
    multiples of 16 as in the released code. If `size` is not a multiple of 16, the video is resized to it at the end.
    """
    width, height = image_size
    if size is None:
        scale = max_side / max(width, height)
        rounded = tuple(max(PATCH, round_up(int(n * scale))) for n in image_size)
        return CropResize((0, 0, width, height), rounded, rounded)  # type: ignore[arg-type]
    scale = min(width / size[0], height / size[1])
    crop_width, crop_height = round(size[0] * scale), round(size[1] * scale)
    x0, y0 = (width - crop_width) // 2, (height - crop_height) // 2
    return CropResize((x0, y0, x0 + crop_width, y0 + crop_height), (round_up(size[0]), round_up(size[1])), size)


def round_up(length: int) -> int:
    """Round up to a multiple of 16."""
    return -(-length // PATCH) * PATCH


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an (H, W, 3) uint8 image to (width, height): area interpolation to shrink it, cubic to enlarge it."""
    import cv2

    if image.shape[1::-1] == size:
        return image
    shrinks = image.shape[1] > size[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def parse_size(text: str) -> tuple[int, int]:
    """Parse `480x832` to (480, 832).

    Raises:
        UserError: the text is not a size, or a side is odd, below 16 or above 8192 pixels.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip().lower(), re.ASCII)
    if not match or not all(PATCH <= int(n) <= 8192 for n in match.groups()):
        raise UserError(f"--size is {text!r}; expected WIDTHxHEIGHT in pixels, such as 480x832")
    if any(int(n) % 2 for n in match.groups()):
        raise UserError(f"--size is {text!r}; expected even numbers, which the video's colour format requires")
    return int(match[1]), int(match[2])


def parse_assignment(text: str) -> Assignment:
    """Parse `0.0,1.0,-` to ((0, 0), (1, 0), None); entries are separated by commas or semicolons.

    Raises:
        UserError: an entry is neither DRIVER.FACE nor -.
    """
    assignment = []
    for entry in re.split(r"[,;]", text):
        match = re.fullmatch(r"\s*(?:(\d+)\.(\d+)|-)\s*", entry, re.ASCII)
        if not match:
            raise UserError(
                f"--assign has the entry {entry!r}; expected DRIVER.FACE, such as 0.1, or - for a face at rest"
            )
        assignment.append((int(match[1]), int(match[2])) if match[1] else None)
    return tuple(assignment)


def assign_faces(num_faces: int, faces_per_driver: list[int], assignment: Assignment | None = None) -> Assignment:
    """Return the (driver, face) that drives each face of the portrait, left to right.

    Args:
        num_faces: number of faces in the portrait; if 0 (a drawing, an animal), the whole portrait is driven by one.
        faces_per_driver: number of faces in each driver.
        assignment: the user's choice; by default, driving faces are assigned from left to right.

    Raises:
        UserError: the numbers of driving and portrait faces differ and there is no `assignment`, or it is impossible.
    """
    num_targets = max(num_faces, 1)
    if assignment is not None:
        _check_assignment(assignment, num_targets, faces_per_driver)
        return assignment
    available = [(driver, face) for driver, count in enumerate(faces_per_driver) for face in range(count)]
    if len(available) == num_targets:
        return tuple(available)
    raise UserError(
        f"the portrait has {_count_faces(num_faces)}, the drivers have {_count_faces(len(available))} "
        f"({', '.join(map(str, faces_per_driver))}); assign a driving face to each, left to right, for example "
        f"--assign {_suggest(num_targets, available)}"
    )


def _check_assignment(assignment: Assignment, num_targets: int, faces_per_driver: list[int]) -> None:
    if len(assignment) != num_targets:
        raise UserError(
            f"--assign has {len(assignment)} entries for {_count_faces(num_targets)}; give one for each, left to right"
        )
    if not any(assignment):
        raise UserError("--assign drives no face; give a driving face for at least one")
    for driver, face in filter(None, assignment):
        if driver >= len(faces_per_driver):
            raise UserError(f"--assign names driver {driver}; there are {len(faces_per_driver)}, counted from 0")
        if face >= faces_per_driver[driver]:
            shown = _count_faces(faces_per_driver[driver])
            raise UserError(f"--assign names face {face} of driver {driver}, which shows {shown}, counted from 0")


def _count_faces(count: int) -> str:
    return f"{count} face{'' if count == 1 else 's'}"


def _suggest(num_targets: int, available: list[tuple[int, int]]) -> str:
    entries = [f"{driver}.{face}" for driver, face in available[:num_targets]]
    return ",".join(entries + ["-"] * (num_targets - len(available)))
