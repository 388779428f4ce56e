"""Decode each video once for everything that is computed from its frames.

A `Computation` describes a result computed from one video, or from two videos frame by frame, and its key in the cache.
`single_pass` returns cached results and decodes the videos of the others once, feeding their frames to accumulators
with `update` and `compute`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from exprbench.core.cache import entry_lock, entry_path, read_entry, write_entry
from exprbench.core.errors import UserError
from exprbench.core.files import sha256_path
from exprbench.media import Clip, MediaError, open_clip

RESIZE = "bicubic, antialiased (Pillow)"


class Accumulator(Protocol):
    """Takes a video's frames in order and computes a result at the end."""

    def update(self, frame: Any) -> None:
        """Take the next (H, W, 3) uint8 RGB frame, or the next `FramePair` of a computation of two videos."""

    def compute(self) -> Any:
        """Return the result of the frames taken."""


def benchmark_changed(path: Path) -> UserError:
    """Return the error of a benchmark file that no longer has the hash written when the benchmark was built."""
    return UserError(f"{path} has changed since the benchmark was built; nothing was scored (see exprbench check)")


@dataclass(frozen=True, kw_only=True)
class VideoInput:
    """A video file or frame folder of known content, read at `fps` up to `max_frames`.

    An unreadable file is a user error if `of_benchmark`, otherwise an error of the method, which fails one case. With
    `every_frame`, the file's own times are ignored: each of its frames counts as one frame at `fps`.
    """

    path: Path
    sha256: str
    fps: float
    max_frames: int | None = None
    of_benchmark: bool = False
    every_frame: bool = False

    @property
    def rate(self) -> float | str:
        """Return what selects the frames, as a part of cache keys."""
        return f"every frame, as {self.fps:g} fps" if self.every_frame else self.fps

    def open(self) -> Clip:
        """Open the video for reading once."""
        try:
            fps = None if self.every_frame else self.fps
            return open_clip(self.path, fps=fps, max_frames=self.max_frames)
        except MediaError as error:
            raise self._attributed(error) from error

    def check_unchanged(self) -> None:
        """Raise if the content is no longer that of `sha256`: what was read would be cached as that of another file."""
        if self._changed():
            raise self._attributed(MediaError("decode_errors", f"{self.path.name} changed while it was read"))

    def frames(self, clip: Clip) -> Iterator[np.ndarray]:
        """Yield the frames of the opened clip."""
        try:
            yield from clip
        except MediaError as error:
            raise self._attributed(error) from error

    def _changed(self) -> bool:
        return not self.path.exists() or sha256_path(self.path) != self.sha256

    def _attributed(self, error: MediaError) -> Exception:
        if not self.of_benchmark:
            return error
        if self._changed():
            return benchmark_changed(self.path)
        return UserError(f"the benchmark's {self.path} cannot be read ({error}); see exprbench check")


@dataclass(frozen=True)
class FramePair:
    """A reference frame and the prediction's frame of the same time, (H, W, 3) uint8 RGB each."""

    reference: np.ndarray
    predicted: np.ndarray

    @property
    def is_resized(self) -> bool:
        """Return whether the prediction has another size than the reference."""
        return self.predicted.shape != self.reference.shape

    @cached_property
    def fitted(self) -> np.ndarray:
        """Return the predicted frame at the reference's size; the filter is part of the protocol (`RESIZE`)."""
        return resize(self.predicted, *self.reference.shape[1::-1]) if self.is_resized else self.predicted


def resize(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return an (H, W, 3) uint8 frame at another size."""
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))


@dataclass(frozen=True, kw_only=True)
class Computation:
    """A result computed from the frames of one video, or of a reference and a prediction frame by frame.

    Attributes:
        name: key of the result among those of the same pass.
        videos: one video, or (reference, prediction).
        kind, key: place of the result in the cache; the key holds everything the result depends on.
        start: creates the accumulator.
        pack, unpack: turn the result into bytes and back.
    """

    name: str
    videos: tuple[VideoInput, ...]
    kind: str
    key: Any
    start: Callable[[], Accumulator]
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]

    @cached_property
    def entry(self) -> str:
        """Return the path of the result in the cache."""
        return str(entry_path(self.kind, self.key))

    def is_cached(self) -> bool:
        """Return whether the result is in the cache."""
        return read_entry(self.kind, self.key) is not None

    def recall(self) -> Any:
        """Return the cached result.

        Raises:
            LookupError: it is not in the cache.
        """
        body = read_entry(self.kind, self.key)
        if body is None:
            raise LookupError(f"{self.name} is no longer in the cache; score again")
        return self.unpack(body)


def single_pass(computations: Sequence[Computation]) -> dict[str, Any]:
    """Return name -> result of every computation, decoding each video at most once.

    If another process is computing a result, it is waited for. Computations with equal keys, for example of a
    prediction that equals its reference, are done once.

    Raises:
        MediaError: a method's video cannot be read to its end.
        UserError: a benchmark's video cannot.
    """
    by_entry = {computation.entry: computation for computation in computations}
    results = _recall(by_entry)
    if missing := by_entry.keys() - results.keys():
        with ExitStack() as locks:
            for entry in sorted(missing):  # the same order in all processes prevents deadlocks
                locks.enter_context(entry_lock(by_entry[entry].kind, by_entry[entry].key))
            results |= _recall({entry: by_entry[entry] for entry in missing})
            results |= _compute([by_entry[entry] for entry in by_entry if entry not in results])
    return {computation.name: results[computation.entry] for computation in computations}


def _recall(by_entry: dict[str, Computation]) -> dict[str, Any]:
    results = {}
    for entry, computation in by_entry.items():
        with suppress(LookupError):
            results[entry] = computation.recall()
    return results


def _compute(computations: Sequence[Computation]) -> dict[str, Any]:
    accumulators = [(computation, computation.start()) for computation in computations]
    videos = list(dict.fromkeys(video for computation in computations for video in computation.videos))
    with ExitStack() as opened:
        streams = [video.frames(opened.enter_context(video.open())) for video in videos]
        for frames in zip_longest(*streams):
            _feed(accumulators, dict(zip(videos, frames, strict=True)))
    for video in videos:
        video.check_unchanged()
    results = {}
    for computation, accumulator in accumulators:
        results[computation.entry] = accumulator.compute()
        write_entry(computation.kind, computation.key, computation.pack(results[computation.entry]))
    return results


def _feed(accumulators: Sequence[tuple[Computation, Accumulator]], frames: dict[VideoInput, np.ndarray | None]) -> None:
    pairs: dict[tuple[VideoInput, ...], FramePair] = {}
    for computation, accumulator in accumulators:
        shown = [frames[video] for video in computation.videos]
        if any(frame is None for frame in shown):
            continue
        if len(shown) == 2 and computation.videos not in pairs:
            pairs[computation.videos] = FramePair(*shown)
        accumulator.update(pairs[computation.videos] if len(shown) == 2 else shown[0])
