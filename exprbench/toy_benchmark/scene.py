"""Render people into frames, with the exact tracks of their faces."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from exprbench.faces import FaceTrack, FaceTracks, rotation
from exprbench.faces.gaze import to_camera
from exprbench.toy_benchmark.animation import EXPRESSIONS, FPS, Animation, still
from exprbench.toy_benchmark.cast import Backdrop, Character
from exprbench.toy_benchmark.draw import OVERSAMPLING, draw
from exprbench.toy_benchmark.head import iris_points, pose_points
from exprbench.toy_benchmark.view import View

HEIGHT_CM, SLOT_CM = 31.0, 22.0  # visible height and width per person; the smaller scale is used
EYE_LINE = 0.54  # height of the heads' pivots, from the top of the frame
DEPTH_CM = 50.0
SWAY_OF_BODY = 0.35
MADE_BY = "drawn, exact"


def render(
    people: Sequence[Character],
    motions: Sequence[Animation],
    size: tuple[int, int],
    *,
    backdrop: Backdrop | None = None,
) -> tuple[Iterator[np.ndarray], FaceTracks]:
    """Return an iterator over (H, W, 3) uint8 RGB frames of people next to each other, left to right, and their tracks.

    Args:
        people: characters, left to right.
        motions: one animation per person, of equal length; in frames that are not `seen`, a book covers the face.
        size: (width, height) in pixels.
        backdrop: colours of the wall; by default the first person's.

    Raises:
        ValueError: there are no people, or not one animation per person, or their lengths differ.
    """
    lengths = [len(m) for m in motions]
    if not people or len(people) != len(motions) or len(set(lengths)) != 1:
        raise ValueError(f"{len(people)} people with motions of {lengths} frames; expected one each, all of one length")
    unit = min(size[1] / HEIGHT_CM, size[0] / len(people) / SLOT_CM)
    rest = [_rest_position(i, len(people), person, size, unit) for i, person in enumerate(people)]
    tracks = [_track(*parts, unit, size) for parts in zip(people, motions, rest, strict=True)]
    faces = FaceTracks(
        num_frames=lengths[0],
        width=size[0],
        height=size[1],
        fps=FPS,
        tracks=tuple(FaceTrack(**_unseen(track)) for track in tracks),
        made_by=MADE_BY,
    )

    def frames() -> Iterator[np.ndarray]:
        for t in range(lengths[0]):
            drawn = zip(people, motions, tracks, rest, strict=True)
            views = [_view(p, m, track["landmarks"], t, position, unit, size) for p, m, track, position in drawn]
            yield draw(views, size, backdrop or people[0].backdrop)

    return frames(), faces


def portrait(
    character: Character, size: tuple[int, int], *, expression: Mapping[str, float] | None = None
) -> tuple[np.ndarray, FaceTracks]:
    """Return an (H, W, 3) uint8 RGB image of a person who looks into the camera, and its tracks of one frame.

    Args:
        expression: blendshapes by name ("mouthSmile" sets both sides); `EXPRESSIONS["calm"]` by default.
    """
    frames, tracks = render([character], [still(expression or EXPRESSIONS["calm"])], size)
    return next(frames), tracks


def _rest_position(i: int, count: int, person: Character, size: tuple[int, int], unit: float) -> np.ndarray:
    """Return the pixel (2,) of the pivot of a person's head at rest."""
    return np.array([size[0] * (i + 0.5) / count, size[1] * EYE_LINE - unit * person.stature_cm])


def _track(
    person: Character, motion: Animation, rest: np.ndarray, unit: float, size: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Return the arrays of a track in float32; irises are computed from the rounded mesh, so that the gaze is exact."""
    frame = np.array([size[0], -size[1], -size[0]])
    pose = _pose(motion)
    position = rest + unit * motion.offset_cm * (1, -1)
    origin = np.column_stack([position[:, 0], -position[:, 1], np.zeros(len(position))])[:, None]
    mesh = (pose_points(person.proportions, motion.blendshapes, motion.rotation) * unit + origin) / frame
    mesh = mesh.astype(np.float32)
    irises = iris_points(to_camera(mesh, size), rotation(pose), motion.gaze) / frame
    landmarks = np.concatenate([mesh, irises.astype(np.float32)], axis=1)
    box = np.concatenate([landmarks[..., :2].min(1), landmarks[..., :2].max(1)], axis=-1)
    return {
        "seen": motion.seen,
        "box": box,
        "landmarks": landmarks,
        "blendshapes": motion.blendshapes.astype(np.float32),
        "pose": pose,
    }


def _pose(motion: Animation) -> np.ndarray:
    pose = np.tile(np.eye(4, dtype=np.float32), (len(motion), 1, 1))
    pose[:, :3, :3] = motion.rotation
    pose[:, :2, 3] = motion.offset_cm
    pose[:, 2, 3] = -DEPTH_CM
    return pose


def _unseen(track: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a track with NaN in frames in which the face is hidden."""
    seen = track["seen"]
    known = {name: array.copy() for name, array in track.items() if name != "seen"}
    for array in known.values():
        array[~seen] = np.nan
    return {"seen": seen, **known}


def _view(
    person: Character,
    motion: Animation,
    landmarks: np.ndarray,
    t: int,
    rest: np.ndarray,
    unit: float,
    size: tuple[int, int],
) -> View:
    sway = unit * motion.offset_cm[t] * (1, -1)
    return View(
        character=person,
        points=landmarks[t, :, :2].astype(np.float64) * size * OVERSAMPLING,
        rotation=motion.rotation[t],
        blendshapes=motion.blendshapes[t],
        centre=(rest + sway) * OVERSAMPLING,
        body=(rest + SWAY_OF_BODY * sway) * OVERSAMPLING,
        unit=unit * OVERSAMPLING,
        hidden=not motion.seen[t],
    )
