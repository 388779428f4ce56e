"""Cuts inside a clip: the largest change between frames that stands out from its neighbourhood."""

from dataclasses import asdict

import numpy as np
import pyarrow as pa

from multiexpr.recipe import ScoreCuts
from multiexpr.scorers.base import Frames, Row, constant_rate, rounded, rounded_all

VERSION = "cuts-1"
NEIGHBOURS = 2  # changes before and after one, to compare it with


class CutScorer:
    """PySceneDetect's content value (mean change of hue, saturation and brightness, 0 to 255) between frames."""

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
        self.times: list[float] = []
        self.changes: list[float] = []

    def update(self, frame: np.ndarray, time_s: float) -> None:
        import cv2
        from scenedetect import FrameTimecode

        height, width = frame.shape[:2]
        scale = min(1, self.params.long_side / max(height, width))
        size = round(width * scale), round(height * scale)
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if scale < 1 else frame
        at = FrameTimecode(len(self.times), fps=self.params.fps)
        self.detector.process_frame(at, np.ascontiguousarray(small[..., ::-1]))
        (change,) = self.detector.stats_manager.get_metrics(at, ["content_val"])
        self.times.append(time_s)
        self.changes.append(change or 0.0)

    def compute(self) -> Row:
        changes = np.array(self.changes[1:])
        standing_out = changes >= self.params.ratio * neighbourhood(changes)
        cuts = [t for t, out in zip(self.times[1:], standing_out, strict=True) if out]
        cut = changes[standing_out].max(initial=0.0)
        strong = [t for t, change in zip(cuts, changes[standing_out], strict=True) if change >= cut / 2 > 0]
        return {"cut": rounded(cut), "cut_times_s": rounded_all(strong)}


def neighbourhood(changes: np.ndarray) -> np.ndarray:
    """Mean of the two values before and the two after each, of those there are."""
    means = np.zeros(len(changes))
    for i in range(len(changes)):
        near = [*changes[max(0, i - NEIGHBOURS) : i], *changes[i + 1 : i + 1 + NEIGHBOURS]]
        means[i] = np.mean(near) if near else 0.0
    return means
