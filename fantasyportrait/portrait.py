"""The picture to animate: its size, its faces, and who of them is driven by whom."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exprbench.core.errors import UserError
from exprbench.faces import FaceTracks, TracksError
from exprbench.faces.video_tracks import given_tracks, track_faces, track_image
from exprbench.media import VIDEO_SUFFIXES, MediaError, open_clip, read_image
from fantasyportrait.model.configs import PATCH

Pairs = tuple[tuple[int, int] | None, ...]  # for each portrait face: (driver, face), or nobody
MOVING = (*VIDEO_SUFFIXES, ".gif")


def read_portrait(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB; of a video, the first frame.

    Raises:
        UserError: it cannot be read.
    """
    try:
        if path.suffix.lower() not in MOVING:
            return read_image(path)
        with open_clip(path, max_frames=1) as clip:
            return next(iter(clip))
    except MediaError as error:
        raise UserError(f"the portrait {path} cannot be read: {error}") from error


def find_boxes(path: Path) -> np.ndarray:
    """(P, 4) boxes of the faces in a portrait, left to right, in [0, 1] of it."""
    boxes = [track.box[0] for track in _tracks(path).tracks if track.seen[0]]
    return np.array(sorted(boxes, key=lambda box: box[0] + box[2]), np.float64).reshape(-1, 4)


def _tracks(path: Path) -> FaceTracks:
    """Faces of a still, or of a video's first frame; also where that frame lies beside its video, whose tracks are
    given under the name they share.
    """
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
class Fit:
    """How a portrait becomes the model's input: cut to `keep` (x0, y0, x1, y1), then resized to `size`.

    `size` has sides that are multiples of 16; `output` is what the user gets.
    """

    keep: tuple[int, int, int, int]
    size: tuple[int, int]
    output: tuple[int, int]

    def image(self, image: np.ndarray) -> np.ndarray:
        """The portrait as the model sees it."""
        x0, y0, x1, y1 = self.keep
        return resize(image[y0:y1, x0:x1], self.size)

    def boxes(self, boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """Boxes in [0, 1] of the portrait, in pixels of the model's input."""
        x0, y0, x1, y1 = self.keep
        pixels = boxes * np.tile(image_size, 2) - (x0, y0, x0, y0)
        return pixels * np.tile([self.size[0] / (x1 - x0), self.size[1] / (y1 - y0)], 2)


def fit(image_size: tuple[int, int], *, max_side: int = 720, size: tuple[int, int] | None = None) -> Fit:
    """How to bring a (width, height) portrait to the given size, or to one whose longer side is `max_side`.

    With a size, the middle of the portrait that has its shape is kept; without one, all of it. Sides are rounded up to
    multiples of 16 as released; a size that is none comes out as it was asked for.
    """
    width, height = image_size
    if size is None:
        scale = max_side / max(width, height)
        rounded = tuple(max(PATCH, round_up(int(n * scale))) for n in image_size)
        return Fit((0, 0, width, height), rounded, rounded)  # type: ignore[arg-type]
    share = min(width / size[0], height / size[1])
    keep_w, keep_h = round(size[0] * share), round(size[1] * share)
    x0, y0 = (width - keep_w) // 2, (height - keep_h) // 2
    return Fit((x0, y0, x0 + keep_w, y0 + keep_h), (round_up(size[0]), round_up(size[1])), size)


def round_up(length: int) -> int:
    """To a multiple of 16."""
    return -(-length // PATCH) * PATCH


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 to (width, height): by area when it shrinks, cubic when it grows."""
    import cv2

    if image.shape[1::-1] == size:
        return image
    shrinks = image.shape[1] > size[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def parse_size(text: str) -> tuple[int, int]:
    """`480x832` to (480, 832).

    Raises:
        UserError: it is none.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip().lower(), re.ASCII)
    if not match or not all(PATCH <= int(n) <= 8192 for n in match.groups()):
        raise UserError(f"--size is {text!r}; expected WIDTHxHEIGHT in pixels, like 480x832")
    return int(match[1]), int(match[2])


def parse_assignment(text: str) -> Pairs:
    """`0.0,1.0,-` to ((0, 0), (1, 0), None); commas or semicolons.

    Raises:
        UserError: an entry is neither DRIVER.FACE nor -.
    """
    pairs = []
    for entry in re.split(r"[,;]", text):
        match = re.fullmatch(r"\s*(?:(\d+)\.(\d+)|-)\s*", entry, re.ASCII)
        if not match:
            raise UserError(f"--assign has the entry {entry!r}; expected DRIVER.FACE (like 0.1), or - for nobody")
        pairs.append((int(match[1]), int(match[2])) if match[1] else None)
    return tuple(pairs)


def assign(num_faces: int, faces_of_drivers: list[int], given: Pairs | None = None) -> Pairs:
    """Who is driven by whom: an entry for each face of the portrait, left to right.

    Args:
        num_faces: in the portrait; 0 where none is found (a cartoon's), which is then animated as a whole.
        faces_of_drivers: faces in each driver.
        given: what the user asked for.

    Raises:
        UserError: there are fewer driving faces than portrait faces, or more, and the user did not say who is meant.
    """
    wanted = max(num_faces, 1)
    if given is not None:
        _check_given(given, wanted, faces_of_drivers)
        return given
    available = [(d, f) for d, count in enumerate(faces_of_drivers) for f in range(count)]
    if len(available) == wanted:
        return tuple(available)
    raise UserError(
        f"the portrait has {_faces(num_faces)}, the drivers {_faces(len(available))} "
        f"({', '.join(map(str, faces_of_drivers))}); say who drives whom, left to right: "
        f"--assign {_suggest(wanted, available)}"
    )


def _check_given(given: Pairs, wanted: int, faces_of_drivers: list[int]) -> None:
    if len(given) != wanted:
        raise UserError(f"--assign has {len(given)} entries for {_faces(wanted)}; give one for each, left to right")
    if not any(given):
        raise UserError("--assign drives nobody; name a driver's face for one at least")
    for driver, face in filter(None, given):
        if driver >= len(faces_of_drivers):
            raise UserError(f"--assign names driver {driver}; there are {len(faces_of_drivers)}, counted from 0")
        if face >= faces_of_drivers[driver]:
            shown = _faces(faces_of_drivers[driver])
            raise UserError(f"--assign names face {face} of driver {driver}, which shows {shown}, counted from 0")


def _faces(count: int) -> str:
    return f"{count} face{'' if count == 1 else 's'}"


def _suggest(wanted: int, available: list[tuple[int, int]]) -> str:
    entries = [f"{d}.{f}" for d, f in available[:wanted]] + ["-"] * (wanted - len(available))
    return ",".join(entries)
