"""The clips of FVD: which frames of a video form a clip, and how frames are resized."""

import hashlib
from dataclasses import dataclass
from typing import Literal

MIN_FRAMES = 10  # I3D halves the time axis three times and then pools over two; common code requires ten


@dataclass(frozen=True, kw_only=True)
class ClipGrid:
    """How videos are cut into clips.

    Attributes:
        num_frames: frames per clip; None takes the whole video as one clip.
        hop: frames between the starts of consecutive clips; None takes one clip per video.
        start: start of the single clip: the first frame, or a random one from `seed` and the video's name.
        fit: `squash224` (bilinear, ignoring the aspect ratio), `crop224` (short side to 224, centre crop, bilinear), or
            `aa-crop256-byte-224` (short side to 256 with antialiasing, centre crop, truncated to bytes, then to 224,
            bilinear without antialiasing).
        biased: covariance over n instead of n - 1, as in some libraries.
        seed: seed of a random start.
    """

    num_frames: int | None = 16
    hop: int | None = 16
    start: Literal["first", "seeded"] = "first"
    fit: Literal["squash224", "crop224", "aa-crop256-byte-224"] = "squash224"
    biased: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_frames is not None and self.num_frames < MIN_FRAMES:
            raise ValueError(f"clips of {self.num_frames} frames; the network needs {MIN_FRAMES}")
        if self.hop is not None and (self.hop < 1 or self.num_frames is None):
            raise ValueError(f"a hop of {self.hop} between clips of {self.num_frames} frames makes no grid")

    @property
    def cut(self) -> str:
        """Return the selection of frames as part of an id, such as `16f,hop16`."""
        if self.num_frames is None:
            return "allf"
        position = f"hop{self.hop}" if self.hop else f"seed{self.seed}" if self.start == "seeded" else "first"
        return f"{self.num_frames}f,{position}"

    def label(self, fit: str | None = None) -> str:
        """Return the part of a metric's id that describes the grid, such as `16f,hop16,squash224`."""
        fit = self.fit if fit is None else fit
        return ",".join(part for part in (self.cut, fit, "cov1/n" if self.biased else "") if part)

    def spans(self, video_frames: int, video: str = "") -> list[tuple[int, int]]:
        """Return (first frame, frame after the last) of every clip of a video, an empty list if it is too short."""
        length = video_frames if self.num_frames is None else self.num_frames
        if video_frames < max(length, MIN_FRAMES):
            return []
        if self.hop:
            return [(first, first + length) for first in range(0, video_frames - length + 1, self.hop)]
        first = self._random_start(video_frames - length + 1, video) if self.start == "seeded" else 0
        return [(first, first + length)]

    def _random_start(self, num_starts: int, video: str) -> int:
        digest = hashlib.sha256(f"{self.seed}:{video}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % num_starts


DEFAULT_GRID = ClipGrid()

# The clips of other libraries, as far as they can be reproduced; see docs/metrics.md.
PRESETS = {
    "styleganv16": ClipGrid(hop=None, start="seeded", biased=True),
    "videogpt": ClipGrid(hop=None, fit="crop224"),
    "cdfvd": ClipGrid(hop=None, start="seeded", fit="aa-crop256-byte-224", biased=True, seed=42),
    "common_metrics": ClipGrid(num_frames=None, hop=None, fit="crop224"),
    "one_clip_per_video": ClipGrid(num_frames=None, hop=None),
}
