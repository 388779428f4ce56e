"""What FID and FVD ask of a network, and feeding it while a video streams by.

Any object with an `id`, `prepare` and `features` serves. `id` becomes part of the metric's id (`fid[toy64]`,
`fvd[toy64,16f,hop16]`), so it has to say everything the features depend on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from exprbench.metrics.clip_grid import DEFAULT_GRID, ClipGrid


class FrameExtractor(Protocol):
    """From frames to features.

    Attributes:
        id: what the features depend on: network, preprocessing, layer.
        num_features: d.
        batch: how many frames `features` is best given at once.
    """

    id: str
    num_features: int
    batch: int

    def prepare(self, frame: np.ndarray) -> Any:
        """One (H, W, 3) uint8 RGB frame as the network wants it: small, however large the frame that goes by."""
        ...

    def features(self, prepared: Sequence[Any]) -> np.ndarray:
        """(n, d) float32 features of n prepared frames."""
        ...


class ClipExtractor(Protocol):
    """From clips to features; as `FrameExtractor`, but `features` is given n clips of prepared frames each.

    An extractor whose frames are brought to size as a grid of clips says, rather than in a way that its `id` tells, has
    that as its attribute `fit`.
    """

    id: str
    num_features: int
    batch: int

    def prepare(self, frame: np.ndarray) -> Any: ...  # noqa: D102

    def features(self, prepared: Sequence[Sequence[Any]]) -> np.ndarray: ...  # noqa: D102


def fid_id(extractor: FrameExtractor) -> str:
    """The id of FID through an extractor."""
    return f"fid[{extractor.id}]"


def fvd_id(extractor: ClipExtractor, grid: ClipGrid = DEFAULT_GRID) -> str:
    """The id of FVD through an extractor, on a grid of clips."""
    return f"fvd[{extractor.id},{grid.label(fit=getattr(extractor, 'fit', ''))}]"


@dataclass
class FrameFeatures:
    """Add a video's frames; `compute` gives their (n, d) float32 features."""

    extractor: FrameExtractor
    waiting: list[Any] = field(default_factory=list)
    done: list[np.ndarray] = field(default_factory=list)

    def update(self, frame: np.ndarray) -> None:
        """Take the next (H, W, 3) uint8 RGB frame."""
        self.waiting.append(self.extractor.prepare(frame))
        if len(self.waiting) == self.extractor.batch:
            self._run()

    def _run(self) -> None:
        self.done.append(self.extractor.features(self.waiting))
        self.waiting = []

    def compute(self) -> np.ndarray:
        """Features of all frames added, in order."""
        if self.waiting:
            self._run()
        return _stacked(self.done, self.extractor.num_features)


@dataclass
class ClipFeatures:
    """Add a video's frames; `compute` gives the (n, d) float32 features of its clips.

    Args:
        num_frames: how many frames are going to be added at most: the reference's, for both sides of a pair, so that
            both are cut alike. Clips that turn out incomplete are left out.
        video: the name from which a seeded grid draws its place.
    """

    extractor: ClipExtractor
    num_frames: int
    grid: ClipGrid = DEFAULT_GRID
    video: str = ""
    frames: dict[int, Any] = field(default_factory=dict)
    waiting: list[list[Any]] = field(default_factory=list)
    done: list[np.ndarray] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.spans = self.grid.spans(self.num_frames, self.video)

    def update(self, frame: np.ndarray) -> None:
        """Take the next (H, W, 3) uint8 RGB frame."""
        t, self.count = self.count, self.count + 1
        if any(first <= t < last for first, last in self.spans):
            self.frames[t] = self.extractor.prepare(frame)
        for first, last in self.spans:
            if last == self.count:
                self._clip(range(first, last))

    def _clip(self, times: range) -> None:
        self.waiting.append([self.frames[t] for t in times])
        later = [first for first, last in self.spans if last > times.stop]
        self.frames = {t: f for t, f in self.frames.items() if later and t >= min(later)}
        if len(self.waiting) == self.extractor.batch:
            self._run()

    def _run(self) -> None:
        self.done.append(self.extractor.features(self.waiting))
        self.waiting = []

    def compute(self) -> np.ndarray:
        """Features of all clips, in order."""
        if self.grid.num_frames is None and self.count < self.num_frames:  # the whole video, however much came
            for first, last in self.grid.spans(self.count, self.video):
                self._clip(range(first, last))
        if self.waiting:
            self._run()
        return _stacked(self.done, self.extractor.num_features)


def _stacked(parts: list[np.ndarray], num_features: int) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0, num_features), np.float32)


def frame_features(frames: Sequence[np.ndarray], extractor: FrameExtractor) -> np.ndarray:
    """(n, d) float32 features of frames at hand."""
    collector = FrameFeatures(extractor)
    for frame in frames:
        collector.update(frame)
    return collector.compute()


def clip_features(
    frames: Sequence[np.ndarray], extractor: ClipExtractor, grid: ClipGrid = DEFAULT_GRID, video: str = ""
) -> np.ndarray:
    """(n, d) float32 features of the clips of a video at hand."""
    collector = ClipFeatures(extractor, len(frames), grid, video)
    for frame in frames:
        collector.update(frame)
    return collector.compute()
