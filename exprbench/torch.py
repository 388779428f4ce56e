"""The metrics as `torchmetrics.Metric` classes, for training and validation loops.

    from exprbench.torch import PSNR, LMD

    lmd = LMD()
    for predicted, reference in loader:  # (B, T, 3, H, W) uint8 each
        lmd.update(predicted, reference)
    print(lmd.compute())

The numbers are those of `exprbench score`. Columns without a class of their own are `ExprBenchMetric("l1")`,
`ExprBenchMetric("aed_rel")` and so on; FVD on VideoMAE features is `FVD(VideoMAEFeatures(path))`. Means over videos are
reduced over processes by sums, the statistics of FID and FVD by merging.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from exprbench import weights
from exprbench.metrics import COLUMNS
from exprbench.metrics.clip_grid import DEFAULT_GRID, ClipGrid
from exprbench.metrics.extractors import clip_features, frame_features
from exprbench.metrics.frechet import frechet_distance
from exprbench.metrics.kid import kid
from exprbench.metrics.moments import Moments, merge, moments
from exprbench.scoring.video_scores import score_video

__all__ = ["AED", "APD", "FID", "FVD", "KID", "LMD", "MAE", "PSNR", "SSIM", "ExprBenchMetric"]


class _VideoMetric(Metric):
    is_differentiable = False
    full_state_update = False


class ExprBenchMetric(_VideoMetric):
    """Mean over videos of any pixel or face column of the registry, such as `lmd_lips`.

    Args:
        column: a name of `exprbench.metrics.COLUMNS`.
        fps: frames per second of the videos, for the face tracker.
        profile: `mediapipe` or `paper`.
        options: of `torchmetrics.Metric`.

    Raises:
        ValueError: there is no such column, or it is a distance between sets; see `FID` and `FVD`.
    """

    total: Tensor
    num_videos: Tensor

    def __init__(self, column: str, *, fps: float = 25, profile: str = "mediapipe", **options: Any) -> None:
        super().__init__(**options)
        known = [m.name for m in COLUMNS.values() if m.kind != "set" and profile in m.ids]
        if column not in known:
            raise ValueError(f"unknown column {column!r} of the profile {profile}; known: {', '.join(known)}")
        self.column, self.fps, self.profile = column, fps, profile
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_videos", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Return the direction of the column."""
        return COLUMNS[self.column].higher_is_better

    @property
    def id(self) -> str:
        """Return the metric's id, such as `lmd[mp478,unit,center]`."""
        return COLUMNS[self.column].ids[self.profile]

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add videos; a video without a value, for example without a face, is excluded from the mean.

        Args:
            preds: (B, T, 3, H, W) or (T, 3, H, W) uint8 RGB frames.
            target: the references, of the same layout; the size may differ.
        """
        for predicted, reference in zip(_videos(preds), _videos(target), strict=True):
            scores = score_video(
                predicted, reference, [self.column], fps=self.fps, profile=self.profile, device=_device(self)
            )
            if self.column in scores.values:
                self.total += scores.values[self.column]
                self.num_videos += 1

    def compute(self) -> Tensor:
        """Return the mean over videos, NaN without any."""
        return self.total / self.num_videos


def _device(metric: Metric) -> str:
    return str(metric.device)


def _videos(frames: Tensor) -> list[np.ndarray]:
    """Return each video of a batch as (T, H, W, 3) uint8 frames."""
    if frames.dtype != torch.uint8 or frames.dim() not in (4, 5) or frames.shape[-3] != 3:
        shape = tuple(frames.shape)
        raise ValueError(f"frames of shape {shape} and type {frames.dtype}; expected (B, T, 3, H, W) uint8")
    batch = frames if frames.dim() == 5 else frames[None]
    return [np.ascontiguousarray(video) for video in batch.movedim(-3, -1).cpu().numpy()]


class PSNR(ExprBenchMetric):
    """PSNR in dB; see `ExprBenchMetric`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("psnr", **options)


class SSIM(ExprBenchMetric):
    """SSIM; see `ExprBenchMetric`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("ssim", **options)


class LMD(ExprBenchMetric):
    """Landmark distance in [0, 1] of the frame; see `ExprBenchMetric`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("lmd", **options)


class MAE(ExprBenchMetric):
    """Gaze error in degrees; see `ExprBenchMetric`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("mae", **options)


class AED(ExprBenchMetric):
    """Expression distance; see `ExprBenchMetric`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("aed", **options)


class APD(ExprBenchMetric):
    """Head pose distance in radians; see `ExprBenchMetric`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("apd", **options)


class _FrechetMetric(_VideoMetric):
    """Fréchet distance between the features of all predictions and of all references.

    The states are number, mean and scatter of both sides, with one row per process after they are gathered.
    """

    higher_is_better = False
    SIDES = ("predicted", "reference")

    def __init__(self, num_features: int, **options: Any) -> None:
        super().__init__(**options)
        self.num_features = num_features
        for side in self.SIDES:
            self.add_state(f"{side}_n", torch.zeros(1, dtype=torch.int64), dist_reduce_fx="cat")
            self.add_state(f"{side}_mean", torch.zeros(1, num_features, dtype=torch.float64), dist_reduce_fx="cat")
            shape = (1, num_features, num_features)
            self.add_state(f"{side}_scatter", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="cat")

    @abstractmethod
    def features(self, video: np.ndarray) -> np.ndarray:
        """Return the (n, d) features of one video."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add videos.

        Args:
            preds: (B, T, 3, H, W) or (T, 3, H, W) uint8 RGB frames.
            target: the references, of the same layout; the size may differ.
        """
        for side, batch in zip(self.SIDES, (preds, target), strict=True):
            for video in _videos(batch):
                features = self.features(video)
                if len(features):
                    self._store(side, merge([*self._parts(side), moments(features)]))

    def _parts(self, side: str) -> list[Moments]:
        shapes = {"n": (-1,), "mean": (-1, self.num_features), "scatter": (-1, self.num_features, self.num_features)}
        states = (getattr(self, f"{side}_{name}").cpu().numpy().reshape(shape) for name, shape in shapes.items())
        n, mean, scatter = states
        return [Moments(int(n[i]), mean[i], scatter[i]) for i in range(len(n)) if n[i]]

    def _store(self, side: str, merged: Moments) -> None:
        for name, value in (("n", [merged.n]), ("mean", merged.mean[None]), ("scatter", merged.scatter[None])):
            setattr(self, f"{side}_{name}", torch.as_tensor(np.asarray(value), device=self.device))

    def compute(self) -> Tensor:
        """Return the distance.

        Raises:
            MetricError: `too_few_samples` for fewer than two frames or clips on a side.
        """
        sides = [merge(self._parts(side)) for side in self.SIDES]
        return torch.tensor(frechet_distance(*sides), dtype=torch.float64, device=self.device)


def _inception() -> Any:
    """Return the published Inception."""
    from exprbench.metrics.fid import InceptionFeatures

    return InceptionFeatures(weights.require("inception"))


class FID(_FrechetMetric):
    """Fréchet Inception distance between the frames of all videos.

    Args:
        extractor: an `exprbench.metrics.extractors.FrameExtractor`; the published Inception by default.
        options: of `torchmetrics.Metric`.

    Raises:
        WeightsError: the published network's file is missing.
    """

    def __init__(self, extractor: Any = None, **options: Any) -> None:
        extractor = extractor or _inception()
        super().__init__(extractor.num_features, **options)
        self.extractor = extractor

    def features(self, video: np.ndarray) -> np.ndarray:
        """Return (T, d) features, a row per frame."""
        return frame_features(list(video), self.extractor)


class FVD(_FrechetMetric):
    """Fréchet video distance between the clips of all videos.

    Args:
        extractor: an `exprbench.metrics.extractors.ClipExtractor`; the published I3D by default.
        grid: how videos are cut into clips.
        options: of `torchmetrics.Metric`.

    Raises:
        WeightsError: the published network's file is missing.
    """

    def __init__(self, extractor: Any = None, grid: ClipGrid = DEFAULT_GRID, **options: Any) -> None:
        if extractor is None:
            from exprbench.metrics.fvd import I3DFeatures

            extractor = I3DFeatures(weights.require("i3d"), fit=grid.fit)
        super().__init__(extractor.num_features, **options)
        self.extractor, self.grid = extractor, grid

    def features(self, video: np.ndarray) -> np.ndarray:
        """Return (n, d) features, a row per clip."""
        return clip_features(list(video), self.extractor, self.grid)


class KID(_VideoMetric):
    """Unbiased kernel distance between the Inception features of the frames of all videos, which are kept in memory.

    Args:
        extractor: an `exprbench.metrics.extractors.FrameExtractor`; the published Inception by default.
        options: of `torchmetrics.Metric`.

    Raises:
        WeightsError: the published network's file is missing.
    """

    higher_is_better = False
    predicted: list[Tensor]
    reference: list[Tensor]

    def __init__(self, extractor: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.extractor = extractor or _inception()
        for side in ("predicted", "reference"):
            self.add_state(side, [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add videos, (B, T, 3, H, W) or (T, 3, H, W) uint8 RGB frames on both sides."""
        for side, batch in ((self.predicted, preds), (self.reference, target)):
            features = [frame_features(list(video), self.extractor) for video in _videos(batch)]
            side += [torch.as_tensor(part, device=self.device) for part in features]

    def compute(self) -> Tensor:
        """Return the distance.

        Raises:
            MetricError: `too_few_samples` for fewer than two frames on a side.
        """
        sides = (dim_zero_cat(side).cpu().numpy() for side in (self.reference, self.predicted))
        return torch.tensor(kid(*sides), dtype=torch.float64, device=self.device)


def metrics(names: Sequence[str] = ("psnr", "ssim", "lmd", "mae", "aed", "apd"), **options: Any) -> dict[str, Metric]:
    """Return column name -> metric, for a `torchmetrics.MetricCollection`."""
    return {name: ExprBenchMetric(name, **options) for name in names}
