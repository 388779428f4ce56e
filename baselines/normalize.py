"""Bring outputs back to the benchmark: its frame rate, its length, and the picture of the source."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines.geometry import Rect
from baselines.placement import Placement, covered_share, locate, panel_of, paste, place
from baselines.spec import OutputSpec
from baselines.timing import covered_frames, nearest_frames, shown_frames
from exprbench.core.errors import ItemError
from exprbench.media import open_clip, read_image, write_video


@dataclass(frozen=True, kw_only=True)
class RawOutput:
    """An accepted output of a method.

    Attributes:
        box: part of the source picture that the method got.
        staged: path of the source as the method got it.
        crop_image: image with the source as the method cropped it, None if there is none.
        num_frames, fps: of the driver, as the method got it.
    """

    path: Path
    box: Rect
    staged: Path
    crop_image: Path | None
    num_frames: int
    fps: float


def normalize(outputs: Sequence[RawOutput], spec: OutputSpec, source: Path, out: Path, *, fps: float) -> dict[str, Any]:
    """Write a prediction from one output, or from one output per face, and return what was done.

    Every frame is the source picture, with the parts that the method made pasted into it. Frames are chosen by the
    driver frame that they show, without interpolation. The prediction ends where the shortest output ends.

    Args:
        source: the case's source picture.
        out: path of the prediction.
        fps: frames per second of the benchmark.

    Raises:
        ItemError: `crop_not_located`, or a media error.
    """
    picture = read_image(source)
    height, width = picture.shape[0] & ~1, picture.shape[1] & ~1
    picture = picture[:height, :width]
    placements = [_placement(output, spec) for output in outputs]
    choices = [_choose(output, spec) for output in outputs]
    count = min(map(len, choices))
    streams = [_chosen(output.path, spec, choice[:count]) for output, choice in zip(outputs, choices, strict=True)]

    def frames() -> Iterator[np.ndarray]:
        for results in zip(*streams, strict=True):
            canvas = picture.copy()
            for result, placement in zip(results, placements, strict=True):
                paste(canvas, result, placement)
            yield canvas

    num_frames = write_video(out, frames(), fps=fps)
    return {
        "num_frames": num_frames,
        "coverage": num_frames / min(output.num_frames for output in outputs),
        "frames": spec.frames if spec.frames != "sampled" else f"sampled at {spec.fps:g}",
        "first_driver_frame": spec.first,
        "size": [width, height],
        "parts": [_describe(placement, width, height) for placement in placements],
        "composed": len(outputs) > 1,
    }


def _placement(output: RawOutput, spec: OutputSpec) -> Placement:
    with open_clip(output.path) as clip:
        frame = next(iter(clip))
    height, width = panel_of(frame, spec).shape[:2]
    return place(spec, (width, height), output.box, _locate_crop(output, spec, frame))


def _locate_crop(output: RawOutput, spec: OutputSpec, frame: np.ndarray) -> tuple[float, float, float] | None:
    """Return where the source shows the method's crop of it, as `locate` does; None if the method does not crop."""
    if not spec.crop and spec.crop_panel < 0:
        return None
    if output.crop_image:
        cropped = read_image(output.crop_image)
    else:  # an imported video comes without the image; its first frame is the most similar
        cropped = panel_of(frame, spec, spec.crop_panel if spec.crop_panel >= 0 else spec.panel)
    return locate(np.ascontiguousarray(cropped), read_image(output.staged))


def _choose(output: RawOutput, spec: OutputSpec) -> list[int]:
    """Return the output frame for each driver frame that the output covers."""
    shown = shown_frames(spec, output.num_frames, output.fps)
    step = output.fps / spec.fps if spec.frames == "sampled" else 1.0
    return nearest_frames(shown, covered_frames(shown, output.num_frames, step))


def _chosen(path: Path, spec: OutputSpec, choice: list[int]) -> Iterator[np.ndarray]:
    """Yield the chosen frames of an output; `choice` is non-decreasing."""
    wanted = 0
    with open_clip(path) as clip:
        for index, frame in enumerate(clip):
            while wanted < len(choice) and choice[wanted] == index:
                yield panel_of(frame, spec)
                wanted += 1
            if wanted == len(choice):
                return
    raise ItemError("truncated", f"{path.name} ends before frame {choice[wanted]}")


def _describe(placement: Placement, width: int, height: int) -> dict[str, Any]:
    return {**asdict(placement), "share": round(covered_share(placement, width, height), 6)}
