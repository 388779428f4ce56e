"""One face in a prediction and in its reference, frame by frame."""

from dataclasses import dataclass

import numpy as np

from exprbench.faces import FaceTrack

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class FacePair:
    """A matched pair of tracks over the same T frames, and the (width, height) in pixels of the video each is from."""

    reference: FaceTrack
    predicted: FaceTrack
    reference_size: Size
    predicted_size: Size

    def __post_init__(self) -> None:
        lengths = len(self.reference.seen), len(self.predicted.seen)
        if lengths[0] != lengths[1]:
            raise ValueError(f"tracks of {lengths[0]} and {lengths[1]} frames; cut both to the frames they share")

    @property
    def seen(self) -> np.ndarray:
        """(T,) bool: do both sides see the face?"""
        return self.reference.seen & self.predicted.seen


def mean_seen(values: np.ndarray) -> float:
    """Mean over the frames that have a value; NaN where none has."""
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
