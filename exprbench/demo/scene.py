"""People in a frame: what they look like, frame by frame, and the tracks that are exactly what was drawn."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from exprbench.demo.animation import EXPRESSIONS, FPS, Animation, still
from exprbench.demo.cast import Backdrop, Character
from exprbench.demo.draw import OVERSAMPLING, draw
from exprbench.demo.head import iris_points, pose_points
from exprbench.demo.view import View
from exprbench.faces import FaceTrack, FaceTracks
from exprbench.faces.derived import rotation, to_camera

HEIGHT_CM, SLOT_CM = 31.0, 22.0  # what a frame shows of a person; closer in a frame too narrow for that
EYE_LINE = 0.54  # where the pivot of the heads is, from the top
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
    """Frames (H, W, 3) uint8 RGB of people side by side, left to right, and their tracks.

    Args:
        motions: one a person, of equal length; where one is not seen the face is behind a book and its track says so.
        size: (width, height) in pixels.
        backdrop: colours of the wall; by default the first person's.

    Raises:
        ValueError: no people, or not one motion of one length for each.
    """
    lengths = [len(m) for m in motions]
    if not people or len(people) != len(motions) or len(set(lengths)) != 1:
        raise ValueError(f"{len(people)} people with motions of {lengths} frames; expected one each, all of one length")
    unit = min(size[1] / HEIGHT_CM, size[0] / len(people) / SLOT_CM)
    stands = [_stand(i, len(people), person, size, unit) for i, person in enumerate(people)]
    tracks = [_track(*one, unit, size) for one in zip(people, motions, stands, strict=True)]
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
            everybody = zip(people, motions, tracks, stands, strict=True)
            views = [_view(p, m, track["landmarks"], t, at, unit, size) for p, m, track, at in everybody]
            yield draw(views, size, backdrop or people[0].backdrop)

    return frames(), faces


def portrait(
    character: Character, size: tuple[int, int], *, expression: Mapping[str, float] | None = None
) -> tuple[np.ndarray, FaceTracks]:
    """A still (H, W, 3) uint8 RGB of somebody who looks into the camera, and its track of one frame.

    Args:
        expression: blendshapes by name ("mouthSmile" is both sides); `EXPRESSIONS["calm"]` by default.
    """
    frames, tracks = render([character], [still(expression or EXPRESSIONS["calm"])], size)
    return next(frames), tracks


def _stand(i: int, count: int, person: Character, size: tuple[int, int], unit: float) -> np.ndarray:
    """(2,) pixel of the pivot of somebody's head at rest."""
    return np.array([size[0] * (i + 0.5) / count, size[1] * EYE_LINE - unit * person.stature_cm])


def _track(
    person: Character, motion: Animation, stand: np.ndarray, unit: float, size: tuple[int, int]
) -> dict[str, np.ndarray]:
    """The arrays of a track in float32. The irises stand where the gaze comes out of them as they are rounded."""
    frame = np.array([size[0], -size[1], -size[0]])
    pose = _pose(motion)
    at = stand + unit * motion.offset_cm * (1, -1)
    origin = np.column_stack([at[:, 0], -at[:, 1], np.zeros(len(at))])[:, None]
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
    """The track with nothing known where the face is hidden."""
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
    stand: np.ndarray,
    unit: float,
    size: tuple[int, int],
) -> View:
    sway = unit * motion.offset_cm[t] * (1, -1)
    return View(
        character=person,
        points=landmarks[t, :, :2].astype(np.float64) * size * OVERSAMPLING,
        rotation=motion.rotation[t],
        blendshapes=motion.blendshapes[t],
        centre=(stand + sway) * OVERSAMPLING,
        body=(stand + SWAY_OF_BODY * sway) * OVERSAMPLING,
        unit=unit * OVERSAMPLING,
        hidden=not motion.seen[t],
    )
