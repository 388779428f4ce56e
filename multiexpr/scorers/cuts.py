"""Cut scorer: the largest sudden change between frames, relative to the changes before and after it."""

from dataclasses import asdict

import numpy as np
import pyarrow as pa

from multiexpr.recipe import ScoreCuts
from multiexpr.scorers.base import Frames, Row, constant_rate, rounded, rounded_all

VERSION = "cuts-1"
NEIGHBOURS = 2  # number of changes before, and after, that a change is compared with


class CutScorer:
    """Scorer of cuts, by PySceneDetect's content value: the mean change of hue, saturation and brightness, 0 to 255."""

    name = "cuts"
    costly = True
    columns = [("cut", pa.float64()), ("cut_times_s", pa.list_(pa.float64()))]  # noqa: RUF012

    def __init__(self, params: ScoreCuts) -> None:
        self.params = params

    def fingerprint(self) -> Row:  # noqa: D102
        return {"version": VERSION, **asdict(self.params)}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        return Frames(times_s=constant_rate(facts["length_s"], self.params.fps), long_side=self.params.long_side)

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(self.params)


class _Measurement:
    def __init__(self, params: ScoreCuts) -> None:
        from scenedetect.detectors import ContentDetector
        from scenedetect.stats_manager import StatsManager

        self.params = params
        self.detector = ContentDetector()
        self.detector.stats_manager = StatsManager()
        self.detector.stats_manager.register_metrics(self.detector.get_metrics())
        self.times_s: list[float] = []
        self.changes: list[float] = []

    def update(self, frame: np.ndarray, time_s: float) -> None:
        import cv2
        from scenedetect import FrameTimecode

        height, width = frame.shape[:2]
        scale = min(1, self.params.long_side / max(height, width))
        size = round(width * scale), round(height * scale)
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if scale < 1 else frame
        timecode = FrameTimecode(len(self.times_s), fps=self.params.fps)
        self.detector.process_frame(timecode, np.ascontiguousarray(small[..., ::-1]))
        (change,) = self.detector.stats_manager.get_metrics(timecode, ["content_val"])
        self.times_s.append(time_s)
        self.changes.append(change or 0.0)

    def compute(self) -> Row:
        changes = np.array(self.changes[1:])
        is_sudden = changes >= self.params.ratio * neighbour_means(changes)
        cut_times_s = [t for t, sudden in zip(self.times_s[1:], is_sudden, strict=True) if sudden]
        cut = changes[is_sudden].max(initial=0.0)
        strong = [t for t, change in zip(cut_times_s, changes[is_sudden], strict=True) if change >= cut / 2 > 0]
        return {"cut": rounded(cut), "cut_times_s": rounded_all(strong)}


def neighbour_means(changes: np.ndarray) -> np.ndarray:
    """Return, for each value, the mean of up to two values before and two after it; 0 for a single value."""
    means = np.zeros(len(changes))
    for i in range(len(changes)):
        neighbours = [*changes[max(0, i - NEIGHBOURS) : i], *changes[i + 1 : i + 1 + NEIGHBOURS]]
        means[i] = np.mean(neighbours) if neighbours else 0.0
    return means
