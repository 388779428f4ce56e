"""A face in a prediction and in its reference, frame by frame: the input of all face metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from exprbench.faces import FaceTrack, axis_angle, eye_closed, gaze, rotation

Size = tuple[int, int]
Sides = tuple[np.ndarray, np.ndarray]
Readings = Mapping[str, np.ndarray]
NUM_EXPRESSION = 50  # of SMIRK's 55 coefficients; 2 of the eyelids and 3 of the jaw follow


@dataclass(frozen=True, kw_only=True, eq=False)  # equal only to itself, so that functions of a pair can be cached
class FacePair:
    """A reference track and the predicted track matched to it, over the same T frames.

    Each property returns the two sides, reference first; rows of frames without the face on a side are NaN.

    Attributes:
        reference_size, predicted_size: (width, height) in pixels of the video each track is from.
        profile: `mediapipe` derives gaze, expression and pose from the tracks; `paper` takes them from the readings.
        readings: of each side, name -> (T, n) output of a network that read the face: `gaze` (T, 3) unit vectors in
            the camera's frame, `expression` (T, 55), `pose` (T, 3) axis-angle in radians.
        source: name -> (1, n) output of a network that read the face in the source image, for identity.
    """

    reference: FaceTrack
    predicted: FaceTrack
    reference_size: Size
    predicted_size: Size
    profile: str = "mediapipe"
    readings: tuple[Readings, Readings] = field(default_factory=lambda: ({}, {}))
    source: Readings = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = len(self.reference.seen), len(self.predicted.seen)
        if lengths[0] != lengths[1]:
            raise ValueError(f"tracks of {lengths[0]} and {lengths[1]} frames; cut both to the frames they share")

    @property
    def seen(self) -> np.ndarray:
        """Return (T,) bool: frames in which the face is seen on both sides."""
        return self.reference.seen & self.predicted.seen

    @property
    def _tracks(self) -> tuple[tuple[FaceTrack, Size], ...]:
        return (self.reference, self.reference_size), (self.predicted, self.predicted_size)

    def _read(self, name: str) -> Sides:
        reference, predicted = (side[name] for side in self.readings)
        return reference, predicted

    @cached_property
    def gazes(self) -> Sides:
        """Return unit gaze vectors (T, E, 3) in the camera's frame, of two eyes or one reading of the whole face."""
        if self.profile == "paper":
            reference, predicted = self._read("gaze")
            return reference[:, None], predicted[:, None]
        reference, predicted = (gaze(track.landmarks, track.pose, size) for track, size in self._tracks)
        return reference, predicted

    @cached_property
    def eyes_closed(self) -> np.ndarray:
        """Return (T, E) bool: eyes, as in `gazes`, that are closed in the reference."""
        closed = eye_closed(self.reference.blendshapes)
        return closed.all(-1, keepdims=True) if self.profile == "paper" else closed

    @cached_property
    def rotations(self) -> Sides:
        """Return head rotation matrices (T, 3, 3) of MediaPipe's pose."""
        return rotation(self.reference.pose), rotation(self.predicted.pose)

    @cached_property
    def heads(self) -> Sides:
        """Return head rotations (T, 3) as axis times angle in radians."""
        if self.profile == "paper":
            return self._read("pose")
        return axis_angle(self.reference.pose), axis_angle(self.predicted.pose)

    @cached_property
    def expressions(self) -> Sides:
        """Return expression coefficients (T, K): 52 blendshapes, or 50 of SMIRK."""
        if self.profile == "paper":
            reference, predicted = self.full_expressions
            return reference[:, :NUM_EXPRESSION], predicted[:, :NUM_EXPRESSION]
        return self.reference.blendshapes, self.predicted.blendshapes

    @property
    def full_expressions(self) -> Sides:
        """Return SMIRK's expression, eyelids and jaw (T, 55); profile `paper` only."""
        return self._read("expression")


def mean_seen(values: np.ndarray) -> float:
    """Return the mean over the frames that have a value, NaN if none has."""
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
