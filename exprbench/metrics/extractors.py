"""Feature extractors of FID and FVD: their protocol, and accumulators that apply them to the frames of a video.

Any object with the attributes of the protocol can be used. Its `id` becomes part of the metric's id (`fid[toy64]`,
`fvd[toy64,16f,hop16]`), so it must name everything the features depend on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from exprbench.metrics.clip_grid import DEFAULT_GRID, ClipGrid


class FrameExtractor(Protocol):
    """Feature extractor for frames.

    Attributes:
        id: network, preprocessing and layer of the features.
        num_features: number d of features per frame.
        batch: number of frames per call of `features`.
    """

    id: str
    num_features: int
    batch: int

    def prepare(self, frame: np.ndarray) -> Any:
        """Return the network's input for one (H, W, 3) uint8 RGB frame; its size must not depend on the frame's."""
        ...

    def features(self, prepared: Sequence[Any]) -> np.ndarray:
        """Return (n, d) float32 features of n prepared frames."""
        ...


class ClipExtractor(Protocol):
    """Feature extractor for clips: as `FrameExtractor`, but `features` takes n clips of prepared frames.

    An extractor that resizes frames by the grid's `fit`, instead of a method named by `id`, has an attribute `fit`.
    """

    id: str
    num_features: int
    batch: int

    def prepare(self, frame: np.ndarray) -> Any: ...  # noqa: D102

    def features(self, prepared: Sequence[Sequence[Any]]) -> np.ndarray: ...  # noqa: D102


def fid_id(extractor: FrameExtractor) -> str:
    """Return the id of FID with an extractor."""
    return f"fid[{extractor.id}]"


def fvd_id(extractor: ClipExtractor, grid: ClipGrid = DEFAULT_GRID) -> str:
    """Return the id of FVD with an extractor, on a grid of clips."""
    return f"fvd[{extractor.id},{grid.label(fit=getattr(extractor, 'fit', ''))}]"


@dataclass
class FrameFeatures:
    """Accumulator of the (n, d) float32 features of a video's frames."""

    extractor: FrameExtractor
    pending: list[Any] = field(default_factory=list)
    parts: list[np.ndarray] = field(default_factory=list)

    def update(self, frame: np.ndarray) -> None:
        """Take the next (H, W, 3) uint8 RGB frame."""
        self.pending.append(self.extractor.prepare(frame))
        if len(self.pending) == self.extractor.batch:
            self._run()

    def _run(self) -> None:
        self.parts.append(self.extractor.features(self.pending))
        self.pending = []

    def compute(self) -> np.ndarray:
        """Return the features of all frames, in order."""
        if self.pending:
            self._run()
        return _stacked(self.parts, self.extractor.num_features)


@dataclass
class ClipFeatures:
    """Accumulator of the (n, d) float32 features of a video's clips.

    Args:
        extractor: the feature extractor.
        num_frames: maximum number of frames: that of the reference for both videos of a pair, so that both are cut
            into the same clips. Incomplete clips are dropped.
        grid: how the video is cut into clips.
        video: name of the video, which determines the start in a seeded grid.
    """

    extractor: ClipExtractor
    num_frames: int
    grid: ClipGrid = DEFAULT_GRID
    video: str = ""
    frames: dict[int, Any] = field(default_factory=dict)
    pending: list[list[Any]] = field(default_factory=list)
    parts: list[np.ndarray] = field(default_factory=list)
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
        self.pending.append([self.frames[t] for t in times])
        later = [first for first, last in self.spans if last > times.stop]
        self.frames = {t: f for t, f in self.frames.items() if later and t >= min(later)}
        if len(self.pending) == self.extractor.batch:
            self._run()

    def _run(self) -> None:
        self.parts.append(self.extractor.features(self.pending))
        self.pending = []

    def compute(self) -> np.ndarray:
        """Return the features of all clips, in order."""
        if self.grid.num_frames is None and self.count < self.num_frames:  # the whole video, even if it is shorter
            for first, last in self.grid.spans(self.count, self.video):
                self._clip(range(first, last))
        if self.pending:
            self._run()
        return _stacked(self.parts, self.extractor.num_features)


def _stacked(parts: list[np.ndarray], num_features: int) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0, num_features), np.float32)


def frame_features(frames: Sequence[np.ndarray], extractor: FrameExtractor) -> np.ndarray:
    """Return (n, d) float32 features of frames."""
    collector = FrameFeatures(extractor)
    for frame in frames:
        collector.update(frame)
    return collector.compute()


def clip_features(
    frames: Sequence[np.ndarray], extractor: ClipExtractor, grid: ClipGrid = DEFAULT_GRID, video: str = ""
) -> np.ndarray:
    """Return (n, d) float32 features of the clips of a video."""
    collector = ClipFeatures(extractor, len(frames), grid, video)
    for frame in frames:
        collector.update(frame)
    return collector.compute()
