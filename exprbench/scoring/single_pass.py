"""One decode of a video for everything that wants to see it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from exprbench.core.cache import entry_lock, read_entry, write_entry
from exprbench.core.errors import UserError
from exprbench.media import Clip, MediaError, open_clip


class Watcher(Protocol):
    """Sees a video's frames in order and has a result at the end."""

    def add(self, frame: np.ndarray) -> None:
        """Take the next (H, W, 3) uint8 RGB frame."""

    def finish(self) -> Any:
        """What was seen."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """A result to be had of a video, kept in the cache under `key`.

    `start` makes a watcher where it is not kept yet; `pack` and `unpack` turn the result into bytes and back.
    """

    kind: str
    key: Any
    start: Callable[[], Watcher]
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


@dataclass(kw_only=True)
class Video:
    """A video file (or frame folder) of known content, and what is wanted of it: `needs`, and in time `results`.

    A video of the benchmark that cannot be read is the user's to mend; one of a method is that case's failure.
    """

    path: Path
    sha256: str
    fps: float
    max_frames: int | None = None
    of_benchmark: bool = False
    needs: dict[str, Need] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    num_frames: int = 0
    size: tuple[int, int] | None = None

    def recall(self) -> dict[str, Watcher]:
        """Take from the cache what is there; watchers for what is not."""
        watchers = {}
        for name, need in self.needs.items():
            body = read_entry(need.kind, need.key)
            if body is None:
                watchers[name] = need.start()
            else:
                self.results[name] = need.unpack(body)
        return watchers

    def keep(self, name: str, result: Any) -> None:
        """Remember a result, here and in the cache."""
        need = self.needs[name]
        self.results[name] = result
        write_entry(need.kind, need.key, need.pack(result))

    def open(self) -> Clip:
        """Its frames at the rate wanted."""
        try:
            return open_clip(self.path, fps=self.fps, max_frames=self.max_frames)
        except MediaError as error:
            raise self._blame(error) from error

    def frames(self, clip: Clip) -> Iterator[np.ndarray]:
        """The frames, counted."""
        try:
            for frame in clip:
                self.num_frames += 1
                self.size = frame.shape[1], frame.shape[0]
                yield frame
        except MediaError as error:
            raise self._blame(error) from error

    def _blame(self, error: MediaError) -> Exception:
        if not self.of_benchmark:
            return error
        return UserError(f"the benchmark's {self.path} cannot be read ({error}); see exprbench check")


Pair = Callable[[np.ndarray, np.ndarray], None]


def watch(videos: Sequence[Video], pair: Pair | None = None) -> None:
    """Fill the videos' results, decoding each at most once, and only where something is not in the cache.

    `pair` sees the frames of the first two videos side by side, for as long as both have one. Two processes never
    make the same result at once.

    Raises:
        MediaError: from a method's video that cannot be read to its end.
        UserError: from a benchmark's.
    """
    with ExitStack() as stack:
        for sha256 in sorted({video.sha256 for video in videos}):  # in one order for all, or two wait for each other
            stack.enter_context(entry_lock("video", sha256))
        watching = [(video, video.recall()) for video in videos]
        seen = [(v, watchers) for i, (v, watchers) in enumerate(watching) if watchers or (pair and i < 2)]
        streams = [video.frames(stack.enter_context(video.open())) for video, _ in seen]
        for frames in zip_longest(*streams):
            for (_, watchers), frame in zip(seen, frames, strict=True):
                for watcher in watchers.values() if frame is not None else ():
                    watcher.add(frame)
            if pair and frames[0] is not None and frames[1] is not None:
                pair(frames[0], frames[1])
        for video, watchers in seen:
            for name, watcher in watchers.items():
                video.keep(name, watcher.finish())
