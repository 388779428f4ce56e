"""What is read off the pixels themselves: PSNR, SSIM, and a video's length and size."""

import json
from dataclasses import dataclass, field

import numpy as np

from exprbench.metrics.errors import MetricError
from exprbench.metrics.psnr import squared_error, video_psnr
from exprbench.metrics.ssim import ssim
from exprbench.scoring.single_pass import Need, Video

PIXEL_COLUMNS = ("psnr", "psnr_pooled", "psnr_identical", "ssim")
RESIZE = "bicubic, antialiased (Pillow)"


@dataclass
class Pixels:
    """Sees the frames of a prediction and its reference side by side."""

    resized: bool = False
    num_values: int = 0
    errors: list[float] = field(default_factory=list)
    similarities: list[float] = field(default_factory=list)
    unscored: dict[str, str] = field(default_factory=dict)

    def add(self, predicted: np.ndarray, reference: np.ndarray) -> None:
        """Take the next frame of both, (H, W, 3) uint8 RGB; the prediction is brought to the reference's size."""
        if predicted.shape != reference.shape:
            self.resized = True
            predicted = resized(predicted, reference.shape[1], reference.shape[0])
        self.num_values = reference.size
        self.errors.append(squared_error(reference, predicted))
        try:
            self.similarities.append(ssim(reference, predicted))
        except MetricError as error:
            self.unscored["ssim"] = str(error)

    def values(self) -> dict[str, float]:
        """The columns of the frames seen."""
        found = video_psnr(self.errors, self.num_values)
        told = {"psnr": found.frame_mean, "psnr_pooled": found.pooled, "psnr_identical": found.identical_share}
        return {**told, "ssim": float(np.mean(self.similarities))} if self.similarities else told


def resized(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """A frame at another size; part of the protocol."""
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))


@dataclass
class _Shape:
    """Counts a video's frames."""

    num_frames: int = 0
    size: tuple[int, int] = (0, 0)

    def add(self, frame: np.ndarray) -> None:
        """Take the next frame."""
        self.num_frames += 1
        self.size = frame.shape[1], frame.shape[0]

    def finish(self) -> tuple[int, int, int]:
        """Number of frames, width, height."""
        return self.num_frames, *self.size


def shape_need(video: Video) -> Need:
    """A video's number of frames (at most those looked at), width and height."""
    key = {"video": video.sha256, "fps": video.fps, "max_frames": video.max_frames}
    return Need(kind="shapes", key=key, start=_Shape, pack=lambda shape: json.dumps(shape).encode(), unpack=json.loads)
