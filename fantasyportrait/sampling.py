"""Public functions of the sampler: one video, and all videos of a benchmark."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exprbench.benchmark import Benchmark, Case
from exprbench.core.cache import entry_path
from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import file_lock, read_json, write_json
from exprbench.core.progress import say
from fantasyportrait.checks import check_driver, check_model, check_runtime
from fantasyportrait.portrait import Assignment, parse_assignment, parse_size
from fantasyportrait.settings import RuntimeConfig, SamplingConfig, build_sampling_config, from_dict
from fantasyportrait.user_masks import check_mask_settings, list_mask_files

if TYPE_CHECKING:
    from fantasyportrait.pipeline import Pipeline

RUN_FILE = "run.json"


def sample(
    *,
    model: Path | str,
    portrait: Path | str,
    drivers: Sequence[Path | str],
    out: Path | str,
    assign: str | Assignment | None = None,
    masks: Sequence[Path | str] = (),
    preset: str = "paper",
    runtime: dict[str, Any] | None = None,
    loras: Sequence[str] = (),
    face_models: tuple[Path | str, Path | str] | None = None,
    audio: bool = False,
    mark: bool = False,
    preview: Path | str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Animate a portrait with one or more driving videos and return the path of the video.

    Args:
        model: a folder written by `fantasyportrait.convert`.
        portrait: an image, or a video whose first frame is used.
        drivers: videos, for the portrait's faces from left to right.
        out: the .mp4 file to write.
        assign: driver and face for each face of the portrait, left to right, such as `"0.0,1.0,-"`; `-` is a face
            at rest.
        masks: image or video of each person of the portrait, or a folder of them; by default, boxes of the faces found.
        preset: `paper` or `released`.
        runtime: fields of `RuntimeConfig`: device, vram, weights, offload, attention, compile, parallelism.
        loras: LoRA files, given as `FILE` or `FILE:STRENGTH`.
        face_models: the released face detector and landmark network (ONNX), to use instead of MediaPipe.
        audio: copy the first driver's audio.
        mark: draw the word "generated" into the video.
        preview: folder for preview images during denoising.
        overwrite: replace `out` if it exists.
        options: fields of `SamplingConfig`.

    Raises:
        UserError: an argument is wrong; raised before any weights are loaded.
    """
    out, portrait, drivers = Path(out), Path(portrait), [Path(driver) for driver in drivers]
    _check_output(out, overwrite)
    config = build_sampling_config(preset, options)
    assignment = parse_assignment(assign) if isinstance(assign, str) else assign
    if not portrait.exists():
        raise UserError(f"there is no portrait {portrait}")
    for driver in drivers:
        check_driver(driver)
    mask_files = list_mask_files([Path(mask) for mask in masks])
    if mask_files:
        check_mask_settings(len(mask_files), config)
    pipeline = _load_checked_pipeline(model, config, runtime, loras, face_models)
    from fantasyportrait.inputs import prepare_inputs

    if pipeline.ranks.num_cases > 1:
        raise UserError(
            f"{pipeline.ranks.num_cases} processes would generate the same video; share the work with "
            "--guidance-parallel 2 (branches of a step) or --context-parallel N (tokens of a branch)"
        )
    inputs = prepare_inputs(
        portrait,
        drivers,
        config,
        assignment=assignment,
        landmark_detector=pipeline.landmark_detector,
        masks=mask_files,
    )
    try:
        pipeline.generate_video(
            inputs,
            config,
            out,
            audio=audio,
            watermark=mark,
            preview=Path(preview) if preview else None,
            details={"masks": [path.name for path in mask_files]} if mask_files else {},
        )
    except ItemError as error:
        raise UserError(str(error)) from error
    return out


def _check_output(out: Path, overwrite: bool) -> None:
    if out.suffix.lower() != ".mp4":
        raise UserError(f"--out is {out}; expected a file name ending in .mp4")
    if out.exists() and not overwrite:
        raise UserError(f"{out} already exists; choose another --out or add --overwrite")
    _check_writable(out.parent)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder} cannot be written to: {error.strerror}") from error


def _load_checked_pipeline(
    model: Path | str,
    config: SamplingConfig,
    runtime: dict[str, Any] | None,
    loras: Sequence[str],
    face_models: tuple[Path | str, Path | str] | None,
) -> "Pipeline":
    runtime_config = from_dict(RuntimeConfig, runtime or {})
    check_runtime(runtime_config)
    check_model(Path(model), loras, map(Path, face_models or ()))
    if config.size:
        parse_size(config.size)
    from fantasyportrait.expression.onnx_faces import OnnxLandmarkDetector
    from fantasyportrait.pipeline import load_pipeline

    landmark_detector = OnnxLandmarkDetector(*map(Path, face_models)) if face_models else None
    pipeline = load_pipeline(model, runtime_config, loras=loras, landmark_detector=landmark_detector)
    pipeline.check(config)
    return pipeline


@dataclass(frozen=True, kw_only=True)
class BenchmarkRun:
    """Ids of the cases that were generated now, skipped because their video existed, or failed (with the reason)."""

    generated: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: dict[str, str]


def sample_benchmark(
    *,
    model: Path | str,
    benchmark: Path | str,
    out: Path | str,
    preset: str = "paper",
    split: str | None = None,
    track: str | None = None,
    shard: tuple[int, int] | None = None,
    runtime: dict[str, Any] | None = None,
    loras: Sequence[str] = (),
    face_models: tuple[Path | str, Path | str] | None = None,
    mark: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> BenchmarkRun:
    """Generate every video of a benchmark as `out/{case_id}.mp4`, with the model loaded once.

    Cases whose video exists are skipped, so an interrupted run can be resumed. A folder with videos of other settings
    is refused. Under torchrun, each process takes a share of the cases, or each group of processes if several GPUs
    share a case.

    Args:
        model, preset, runtime, loras, face_models, mark, options: as for `sample`.
        benchmark: a folder written by `exprbench build`.
        out: folder of the videos.
        split: `single` or `multi`; None for both.
        track: `self` or `cross`; None for both.
        shard: (i, n) generates every n-th case from the i-th, counted from 1.
        overwrite: replace existing videos.

    Raises:
        UserError: an argument is wrong.
    """
    bench, out = Benchmark.open(benchmark), Path(out)
    config = build_sampling_config(preset, {"fps": bench.fps, **options})
    if config.cache == "calibrate":
        raise UserError(
            "--cache calibrate measures one video; use it with --portrait and --driver, then --cache mag here"
        )
    _check_writable(out)
    pipeline = _load_checked_pipeline(model, config, runtime, loras, face_models)
    from fantasyportrait.step_skipping import describe_cache
    from fantasyportrait.workload import largest_workload

    num_people = max((len(case.face_map) for case in bench.cases), default=1)
    num_frames = config.frames or round(bench.clip_seconds * bench.fps)
    plan = pipeline.plan_memory(
        largest_workload(pipeline.folder, config, num_frames, num_people, pipeline.runtime.context_parallel)
    )
    identity = {
        "benchmark": bench.sha256,
        "checkpoint": pipeline.folder.name,
        "faces": "mediapipe" if face_models is None else "released",
        "loras": [str(lora) for lora in pipeline.loras],
        "marked": mark,
        "options": config.as_dict(),
        "weights": plan.weights,
        **describe_cache(pipeline.folder, config),
    }
    _check_same_run(out, identity, overwrite)
    index, num_shards = shard or (pipeline.ranks.case + 1, pipeline.ranks.num_cases)
    cases = bench.select(split, track)[index - 1 :: num_shards]
    result = _generate_cases(pipeline, bench, cases, config, out, mark=mark, overwrite=overwrite)
    _update_failures(out / f"failed-{index}-of-{num_shards}.json", result.failed, {*result.generated, *result.skipped})
    return result


def _generate_cases(
    pipeline: "Pipeline",
    bench: Benchmark,
    cases: Sequence[Case],
    config: SamplingConfig,
    out: Path,
    *,
    mark: bool,
    overwrite: bool,
) -> BenchmarkRun:
    generated, skipped, failed = [], [], {}
    for i, case in enumerate(cases, 1):
        path = out / f"{case.case_id}.mp4"
        if path.exists() and not overwrite:
            skipped.append(case.case_id)
            continue
        say(f"{case.case_id} ({i} of {len(cases)})")
        try:
            _generate_case(pipeline, bench, case, config, path, mark)
            generated.append(case.case_id)
        except ItemError as error:
            failed[case.case_id] = str(error)
            say(f"{case.case_id} failed: {error}")
    return BenchmarkRun(generated=tuple(generated), skipped=tuple(skipped), failed=failed)


def _generate_case(
    pipeline: "Pipeline", bench: Benchmark, case: Case, config: SamplingConfig, path: Path, mark: bool
) -> None:
    from fantasyportrait.inputs import prepare_inputs

    portrait, drivers = bench.path(case.source), [bench.path(driver) for driver in case.drivers]
    try:
        inputs = prepare_inputs(
            portrait, drivers, config, assignment=case.face_map, landmark_detector=pipeline.landmark_detector
        )
    except UserError as error:  # here a problem of one case, not of the command
        raise ItemError("case_unusable", str(error)) from error
    pipeline.generate_video(inputs, config, path, watermark=mark)


def _check_same_run(out: Path, identity: dict[str, Any], overwrite: bool) -> None:
    """Record the settings of a folder's videos; raise UserError if it holds videos of other settings."""
    path = out / RUN_FILE
    with file_lock(entry_path("locks/outputs", os.path.realpath(path))):  # two runs must not both find an empty folder
        _compare_and_record(path, identity, overwrite)


def _compare_and_record(path: Path, identity: dict[str, Any], overwrite: bool) -> None:
    recorded = {} if overwrite else read_json(path)
    if "options" in recorded:  # of a version with fewer options, whose behaviour is that of the defaults
        recorded["options"] = {**SamplingConfig().as_dict(), **recorded["options"]}
    changed = [key for key in identity if recorded.get(key) != identity[key]]
    if recorded and changed:
        differences = ", ".join(_list_differences(recorded, identity, changed))
        raise UserError(
            f"{path.parent} holds videos of other settings ({differences}); choose another --out or add --overwrite"
        )
    write_json(path, identity)


def _list_differences(recorded: dict[str, Any], identity: dict[str, Any], changed: list[str]) -> list[str]:
    differences = []
    for key in changed:
        if key == "options":
            old = recorded.get("options", {})
            differences += [f"{k} {old.get(k)!r}, not {v!r}" for k, v in identity["options"].items() if old.get(k) != v]
        else:
            differences.append(f"{key} {recorded.get(key)!r}, not {identity[key]!r}")
    return differences


def _update_failures(path: Path, failed: dict[str, str], succeeded: set[str]) -> None:
    """Update the list of failed cases of one shard; cases that have succeeded since are removed from it."""
    remaining = {case: reason for case, reason in {**read_json(path), **failed}.items() if case not in succeeded}
    if remaining:
        write_json(path, remaining)
    else:
        path.unlink(missing_ok=True)
