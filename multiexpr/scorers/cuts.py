"""Cut scorer: hard cuts, jump cuts within a scene, and gradual cuts (dissolves, fades, wipes, slides).

Hard cuts are those of PySceneDetect's adaptive detector. PySceneDetect has no detector of dissolves, wipes and jumps in
one scene; for these, frames are divided into cells, whose mean colours and detail are followed over time.

- In a jump cut, what moves is elsewhere from one frame to the next; see `multiexpr.scorers.jumps`.
- In a gradual cut, the colours of most cells move from those of one shot straight to those of the other: all of them at
  once in a dissolve or a fade, one after the other in a wipe. The colours of a moving scene take other ways, and a
  change of exposure is the same for all cells. A fade through a uniform picture also lowers the contrast for a moment.
- In a dissolve between takes of the same people, only the people change; see `multiexpr.scorers.dissolves`.
- In a slide, the whole picture moves out; see `multiexpr.scorers.slides`.
"""

from dataclasses import asdict
from math import ceil

import cv2
import numpy as np
import pyarrow as pa

from multiexpr.recipe import ScoreCuts
from multiexpr.scorers.base import Frames, Row, constant_rate, rounded, rounded_all
from multiexpr.scorers.dissolves import largest_dissolve
from multiexpr.scorers.exposure import exposure_steps, without_exposure
from multiexpr.scorers.frame_damage import without_bars
from multiexpr.scorers.jumps import grid_size, largest_jump
from multiexpr.scorers.slides import largest_slide

VERSION = "cuts-11"
FPS = 12.5  # frames per second, about, between which hard and gradual cuts are looked for
NEIGHBOURS = 2  # number of changes before, and after, that a change of the frame is compared with
GAPS_S = (0.4, 0.64, 0.96, 1.44, 2.0)  # durations of gradual cuts
CHANGED_LEVELS = 12.0  # change of a cell's colour, 0 to 255, that counts
STRAY_SHARE, STRAY_LEVELS = 0.15, 1.0  # largest distance from the straight way, as a share of its length and in levels
RETREAT = 0.15  # largest step back, as a share of the way
FADE_S = 1.0  # longest half of a fade through a uniform picture
FLASH = 2  # steps after which the picture is as before a flash
SHOT_RATIO = 1.5  # a gradual cut changes a cell more than the motion before and after it by this factor


class CutScorer:
    """Scorer of cuts.

    `cut` is PySceneDetect's content value of the largest sudden change: the mean change of hue, saturation and
    brightness, 0 to 255. `jump` is the largest share of moving cells that jump at once. `gradual` is the largest share
    of cells whose colours move straight from one shot to another, or of what moves that dissolves, or of the side by
    which the picture slides.
    """

    name = "cuts"
    costly = True
    columns = [  # noqa: RUF012
        *((name, pa.float64()) for name in ("cut", "jump", "gradual")),
        *((name, pa.list_(pa.float64())) for name in ("cut_times_s",)),
        *((name, pa.float64()) for name in ("jump_s", "gradual_s")),
    ]

    def __init__(self, params: ScoreCuts) -> None:
        self.params = params

    def fingerprint(self) -> Row:  # noqa: D102
        return {"version": VERSION, **asdict(self.params)}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        times_s = constant_rate(facts["length_s"], self._rate(facts))
        return Frames(times_s=times_s, long_side=self.params.long_side)

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(self.params, self._rate(facts))

    def _rate(self, facts: Row) -> float:
        """Return the largest rate up to that of the recipe at which the clip's frames are at equal distances."""
        fps = max(facts["fps"], 1.0)
        return fps / ceil(fps / self.params.fps - 0.01)


class _Measurement:
    def __init__(self, params: ScoreCuts, fps: float) -> None:
        self.params = params
        self.fps = fps
        self.times_s: list[float] = []
        self.frames: list[np.ndarray] = []

    def update(self, frame: np.ndarray, time_s: float) -> None:
        height, width = frame.shape[:2]
        scale = min(1, self.params.long_side / max(height, width))
        size = round(width * scale), round(height * scale)
        self.frames.append(cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if scale < 1 else frame.copy())
        self.times_s.append(time_s)

    def compute(self) -> Row:
        frames = without_bars(self.frames)
        jump, jump_at = largest_jump(frames, self.fps)
        step = max(1, round(self.fps / FPS))
        frames, fps, times_s = frames[::step], self.fps / step, self.times_s[::step]
        cells = cell_colours(frames)
        gradual, gradual_at = largest_gradual_cut(frames, cells, fps)
        changes = content_changes(frames, fps) * (stays_changed(cells) & ~exposure_steps(cells))
        return {
            **hard_cuts(changes, times_s[1:], self.params.ratio),
            **{"jump": rounded(jump), "jump_s": _time(self.times_s, jump_at)},
            **{"gradual": rounded(gradual), "gradual_s": _time(times_s, gradual_at)},
        }


def _time(times_s: list[float], index: int) -> float | None:
    return rounded(times_s[index]) if 0 <= index < len(times_s) else None


def largest_gradual_cut(frames: list[np.ndarray], cells: np.ndarray, fps: float) -> tuple[float, int]:
    """Return `gradual` of T (H, W, 3) frames, whose cells have the mean colours (T, cells, 3), and when."""
    return max(
        largest_gradual(cells, fps),
        largest_fade(cells, fps),
        largest_dissolve(frames, fps),
        largest_slide(frames, cells, fps),
    )


def hard_cuts(changes: np.ndarray, times_s: list[float], ratio: float) -> Row:
    """Return `cut`, the largest sudden change, and the times of those at least half as large.

    A change is sudden if it exceeds the mean of its neighbours by `ratio`.
    """
    is_sudden = changes >= ratio * neighbour_means(changes)
    sudden_s = [t for t, sudden in zip(times_s, is_sudden, strict=True) if sudden]
    cut = changes[is_sudden].max(initial=0.0)
    strong = [t for t, change in zip(sudden_s, changes[is_sudden], strict=True) if change >= cut / 2 > 0]
    return {"cut": rounded(cut), "cut_times_s": rounded_all(strong)}


def stays_changed(cells: np.ndarray) -> np.ndarray:
    """Return, for each step of cells (T, cells, 3), whether the picture stays changed, (T - 1,).

    It does not after a flash: the frames `FLASH` steps before and after are compared.
    """
    first = np.arange(len(cells) - 1)
    before, after = cells[np.maximum(first - FLASH, 0)], cells[np.minimum(first + 1 + FLASH, len(cells) - 1)]
    steps = np.abs(np.diff(cells, axis=0)).mean((1, 2))
    return np.abs(after - before).mean((1, 2)) > steps / 2


def content_changes(frames: list[np.ndarray], fps: float) -> np.ndarray:
    """Return PySceneDetect's content value of each of T (H, W, 3) frames but the first, (T - 1,)."""
    from scenedetect import FrameTimecode
    from scenedetect.detectors import ContentDetector
    from scenedetect.stats_manager import StatsManager

    detector = ContentDetector()
    detector.stats_manager = StatsManager()
    detector.stats_manager.register_metrics(detector.get_metrics())
    values = []
    for number, frame in enumerate(frames):
        timecode = FrameTimecode(number, fps=fps)
        detector.process_frame(timecode, np.ascontiguousarray(frame[..., ::-1]))
        values.append(detector.stats_manager.get_metrics(timecode, ["content_val"])[0] or 0.0)
    return np.array(values[1:])


def neighbour_means(changes: np.ndarray) -> np.ndarray:
    """Return, for each value, the mean of up to two values before and two after it; 0 for a single value."""
    means = np.zeros(len(changes))
    for i in range(len(changes)):
        neighbours = [*changes[max(0, i - NEIGHBOURS) : i], *changes[i + 1 : i + 1 + NEIGHBOURS]]
        means[i] = np.mean(neighbours) if neighbours else 0.0
    return means


def cell_colours(frames: list[np.ndarray]) -> np.ndarray:
    """Return the mean colours (T, cells, 3), 0 to 255, of a grid of cells of T frames."""
    size = grid_size(frames[0])
    grid = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack(grid).reshape(len(frames), -1, 3).astype(np.float32)


def largest_gradual(cells: np.ndarray, fps: float) -> tuple[float, int]:
    """Return the largest share of cells (T, cells, 3) that move straight to the colours of another shot, and when."""
    best = 0.0, -1
    for gap in (round(gap_s * fps) for gap_s in GAPS_S):
        for t in range(0, len(cells) - gap, 2):
            best = max(best, (_straight_share(cells, t, t + gap), t + gap // 2))
    return best


def largest_fade(cells: np.ndarray, fps: float) -> tuple[float, int]:
    """Return how far the contrast of cells (T, cells, 3) falls between two shots, as a share of it, and when.

    One shot fades to a uniform picture, and another one appears from it. The pictures with the most contrast within
    `FADE_S` before and after differ, in contrast to those around a flash.
    """
    contrast, reach = cells.std(1).mean(-1), round(FADE_S * fps)
    best = 0.0, -1
    for t in range(1, len(contrast) - 1):
        start = max(0, t - reach)
        before = start + int(contrast[start:t].argmax())
        after = t + 1 + int(contrast[t + 1 : t + 1 + reach].argmax())
        if np.abs(cells[after] - cells[before]).mean() > CHANGED_LEVELS:
            best = max(best, (1 - float(contrast[t] / max(min(contrast[before], contrast[after]), 1e-6)), t))
    return best


def _straight_share(cells: np.ndarray, start: int, end: int) -> float:
    """Return the share of cells that move straight from their colours at frame `start` to those at frame `end`."""
    way = cells[end] - cells[start]
    length = np.abs(way).mean(-1)
    changed = (length > CHANGED_LEVELS) & (length > SHOT_RATIO * _motion_around(cells, start, end))
    changed &= without_exposure(cells[start], cells[end]) > CHANGED_LEVELS
    if changed.mean() < 0.1:
        return 0.0
    inner = cells[start + 1 : end]
    progress = np.clip(((inner - cells[start]) * way).sum(-1) / ((way**2).sum(-1) + 1e-6), 0, 1)
    stray = np.abs(inner - cells[start] - progress[..., None] * way).mean(-1).max(0)
    advances = (np.diff(progress, axis=0) > -RETREAT).all(0)
    return float((changed & (stray < STRAY_SHARE * length + STRAY_LEVELS) & advances).mean())


def _motion_around(cells: np.ndarray, start: int, end: int) -> np.ndarray:
    """Return how far the cells move in the same time before and after: the motion within the two shots, (cells,)."""
    gap = end - start
    before = np.abs(cells[start] - cells[max(0, start - gap)]).mean(-1)
    after = np.abs(cells[min(len(cells) - 1, end + gap)] - cells[end]).mean(-1)
    return np.maximum(before, after)
