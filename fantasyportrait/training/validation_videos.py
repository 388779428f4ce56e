"""Validation videos: sampled with the weights in training, and scored with ExprBench's metrics."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from exprbench.benchmark import Benchmark
from exprbench.core.errors import ItemError, UserError
from exprbench.core.progress import say
from exprbench.scoring import score
from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.inputs import prepare_inputs
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.context_parallel import shard_tokens
from fantasyportrait.pipeline import Pipeline
from fantasyportrait.runtime.memory import MemoryPlan
from fantasyportrait.runtime.parallel import Ranks
from fantasyportrait.settings import RuntimeConfig, SamplingConfig
from fantasyportrait.training.sharding import TrainingRanks, full_state
from fantasyportrait.training.trainable import TrainableModel

COLUMNS = ("aed", "apd", "csim")


def build_pipeline(
    model: TrainableModel, folder: ModelFolder, device: torch.device, ranks: TrainingRanks, precision: str
) -> Pipeline:
    """Return a pipeline that samples with the weights in training; all processes make it and use it together.

    The adapter is copied to CPU memory as a whole; the backbone stays sharded.
    """
    pipeline = Pipeline(folder, RuntimeConfig(device=device.type if device.type == "cpu" else str(device)))
    adapter = MotionAdapter(model.adapter.config)
    adapter.load_state_dict(full_state(model.adapter))
    pipeline._backbone = model.backbone
    pipeline._plan = MemoryPlan(weights=precision, offload="none", tile=256, keys="device", estimate_gib=0.0)
    pipeline.__dict__.update(adapter=adapter.requires_grad_(False), ranks=Ranks(shards=ranks.shards), device=device)
    return pipeline


def sample_benchmark_cases(
    pipeline: Pipeline, bench: Benchmark, out: Path, config: SamplingConfig, *, limit: int, is_main: bool
) -> dict[str, str]:
    """Generate the videos of the first cases of each track, and return those that failed with their reasons."""
    failed = {}
    for case in [case for track in ("self", "cross") for case in bench.select(None, track)[:limit]]:
        drivers = [bench.path(driver) for driver in case.drivers]
        with tempfile.TemporaryDirectory() as other:
            path = (out if is_main else Path(other)) / f"{case.case_id}.mp4"
            try:
                inputs = prepare_inputs(bench.path(case.source), drivers, config, assignment=case.face_map)
                pipeline.generate_video(inputs, config, path)
            except (ItemError, UserError) as error:
                failed[case.case_id] = str(error)
    return failed


def validate_with_benchmark(
    model: TrainableModel,
    folder: ModelFolder,
    bench: Benchmark,
    out: Path,
    config: SamplingConfig,
    *,
    device: torch.device,
    ranks: TrainingRanks,
    precision: str,
    limit: int,
) -> dict[str, Any]:
    """Generate and score validation videos, and return the mean of each column and track, such as `cross/aed`.

    Self cases have the portrait's own driver, cross cases another person's. Columns that need model files that are not
    there have no value.

    Args:
        model, folder, device, ranks, precision: as for `build_pipeline`.
        bench: benchmark of the cases.
        out: folder of the videos.
        config: sampling settings.
        limit: number of cases of each track.
    """
    with torch.no_grad():
        pipeline = build_pipeline(model, folder, device, ranks, precision)
        failed = sample_benchmark_cases(pipeline, bench, out, config, limit=limit, is_main=ranks.is_main)
    shard_tokens(model.backbone, ranks.shards)
    for case_id, reason in failed.items():
        say(f"validation video {case_id} failed: {reason}")
    if not ranks.is_main:
        return {}
    try:
        record = score(
            benchmark=bench.root, predictions=out, method="training", out=out / "record.json", workers=0, floors=False,
            metrics=COLUMNS,
        )  # fmt: skip
    except UserError as error:
        say(f"validation videos were not scored: {error}")
        return {}
    values: dict[str, list[float]] = {}
    for case in record.cases:
        for column in COLUMNS:
            if column in case.values:
                values.setdefault(f"{case.track}/{column}", []).append(case.values[column])
    means = {name: sum(found) / len(found) for name, found in values.items()}
    say("validation videos: " + ", ".join(f"{name} {mean:.4f}" for name, mean in means.items()))
    return {"videos": means}
