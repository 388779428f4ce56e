"""What the networks behind FID and FVD see of a video, as a need that is watched for and kept."""

import io
from functools import lru_cache
from typing import Any

import numpy as np

from exprbench import weights
from exprbench.benchmark import Case
from exprbench.metrics.clip_grid import DEFAULT_GRID, PRESETS, ClipGrid
from exprbench.metrics.extractors import ClipFeatures, FrameFeatures
from exprbench.records import CaseScore
from exprbench.scoring.plan import Plan
from exprbench.scoring.single_pass import Need

FRAMES, CLIPS = "fid", "fvd"
RESIZES = {"fid": "clean299", "fid_pytorch": "pytorch299"}
GRIDS: dict[str, ClipGrid] = {"fvd": DEFAULT_GRID, **{f"fvd_{name}": grid for name, grid in PRESETS.items()}}
SAME_FEATURES = {"fid_video_mean": "fid"}


def feature_columns(columns: tuple[str, ...]) -> list[str]:
    """The columns that need features of their own."""
    wanted = {SAME_FEATURES.get(column, column) for column in columns}
    return [column for column in (*RESIZES, *GRIDS) if column in wanted]


def feature_needs(plan: Plan, column: str, case: Case, score: CaseScore) -> tuple[Need, Need]:
    """The features a scored self case has left in the cache: of the reference, and of the prediction."""
    reference = plan.bench.assets[case.drivers[0]]
    sides = (reference.sha256, score.prediction_sha256)
    ours, theirs = (feature_need(plan, column, sha256, reference.num_frames, case.case_id) for sha256 in sides)
    return ours, theirs


def feature_need(plan: Plan, column: str, video_sha256: str, num_frames: int, case_id: str) -> Need:
    """Features of a video of (at most) so many frames. Both sides of a case are cut by the same grid."""
    drawn = case_id if column in GRIDS and GRIDS[column].start == "seeded" else ""
    key = {
        "video": video_sha256,
        "id": plan.ids[column],
        "weights": plan.weights_of(column),
        "device": plan.device,
        "fps": plan.bench.fps,
        "num_frames": num_frames,
        "drawn": drawn,
    }

    def start() -> FrameFeatures | ClipFeatures:
        if column in RESIZES:
            return FrameFeatures(extractor(plan, column))
        return ClipFeatures(extractor(plan, column), num_frames, GRIDS[column], case_id)

    return Need(kind="features", key=key, start=start, pack=_pack, unpack=_unpack)


def extractor(plan: Plan, column: str) -> Any:
    """The network behind a column: one given by the caller, or the published one."""
    base = FRAMES if column in RESIZES else CLIPS
    if base in plan.networks:
        return plan.networks[base]
    return _published(column, plan.device)


@lru_cache(maxsize=4)
def _published(column: str, device: str) -> Any:
    """Loaded once a process."""
    from exprbench.metrics.fid import InceptionFeatures
    from exprbench.metrics.fvd import I3DFeatures

    if column in RESIZES:
        return InceptionFeatures(weights.require("inception"), device=device, resize=RESIZES[column])
    return I3DFeatures(weights.require("i3d"), device=device, fit=GRIDS[column].fit)


def _pack(features: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, features, allow_pickle=False)
    return buffer.getvalue()


def _unpack(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=False)
