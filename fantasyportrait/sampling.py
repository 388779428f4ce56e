"""The sampler's two public functions: one video, and a whole benchmark."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exprbench.benchmark import Benchmark, Case
from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import read_json, write_json
from exprbench.core.progress import say
from fantasyportrait.portrait import Pairs, parse_assignment
from fantasyportrait.settings import RuntimeConfig, SamplingConfig, from_dict, make_options

if TYPE_CHECKING:
    from fantasyportrait.pipeline import Pipeline

RUN = "run.json"


def sample(
    *,
    model: Path | str,
    portrait: Path | str,
    drivers: Sequence[Path | str],
    out: Path | str,
    assign: str | Pairs | None = None,
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
    """Animate a portrait after one or more driving videos; return the video's path.

    Args:
        model: a folder written by `fantasyportrait.convert`.
        portrait: an image (or a video, of which the first frame is taken).
        drivers: videos, left to right.
        out: the .mp4 to write.
        assign: for each face of the portrait, left to right, the driver's face that drives it: `"0.0,1.0,-"`.
        preset: `paper` or `released`.
        machine: fields of `RuntimeConfig`: device, vram, weights, offload, attention, compile, parallelism.
        loras: files, each with `:STRENGTH` or without.
        face_models: the released detector and landmark network (ONNX), instead of MediaPipe.
        audio: carry over the first driver's sound.
        mark: write the word "generated" into the picture.
        preview: a folder for pictures of the clip in the making.
        overwrite: make the video again where it is there.
        options: fields of `SamplingConfig`.

    Raises:
        UserError: a mistake in what was given, told before anything heavy is loaded.
    """
    out = Path(out)
    if out.suffix.lower() != ".mp4":
        raise UserError(f"--out is {out}; expected a file that ends in .mp4")
    if out.exists() and not overwrite:
        raise UserError(f"{out} is there already; choose another name or say --overwrite")
    _require_writable(out.parent)
    settings, wanted = make_options(preset, options), parse_assignment(assign) if isinstance(assign, str) else assign
    portrait, drivers = Path(portrait), [Path(driver) for driver in drivers]
    _require(portrait, "portrait")
    for driver in drivers:
        _require(driver, "driver")
    from fantasyportrait.inputs import prepare_inputs
    from fantasyportrait.pipeline import load_pipeline

    pipeline = load_pipeline(model, from_dict(RuntimeConfig, runtime or {}), loras=loras, finder=_finder(face_models))
    pipeline.check(settings)
    if pipeline.ranks.num_cases > 1:
        raise UserError(
            f"{pipeline.ranks.num_cases} processes would make the same video; say --guidance-parallel 2 "
            "(a step's branches) or --context-parallel N (a branch's tokens)"
        )
    inputs = prepare_inputs(portrait, drivers, settings, given=wanted, finder=pipeline.finder)
    try:
        pipeline.make(inputs, settings, out, sound=audio, marked=mark, preview=Path(preview) if preview else None)
    except ItemError as error:
        raise UserError(str(error)) from error
    return out


def _require(path: Path, what: str) -> None:
    if not path.exists():
        raise UserError(f"there is no {what} {path}")


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder} cannot be written to: {error.strerror}") from error


def _finder(face_models: tuple[Path | str, Path | str] | None) -> Any:
    if face_models is None:
        return None
    from fantasyportrait.expression.onnx_faces import OnnxPoints

    return OnnxPoints(*(Path(path) for path in face_models))


@dataclass(frozen=True, kw_only=True)
class BenchmarkRun:
    """How a benchmark went: ids of the cases made now, there already, and failed with their reasons."""

    made: tuple[str, ...]
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
    """Make every video of a benchmark with the model loaded once: `out/{case_id}.mp4`.

    Cases whose video is there are skipped, so that a stopped run goes on where it stopped; a run with other settings
    in the same folder is refused. Under torchrun each process (or group of them, when cases are shared out to several
    GPUs) takes its share.

    Args:
        model, preset, machine, loras, face_models, mark, options: as for `sample`.
        benchmark: a folder written by `exprbench build`.
        out: where predictions go.
        split: only this one.
        track: only this one.
        shard: (i, n) makes only every n-th case, from the i-th, to share a benchmark out by hand.
        overwrite: make videos again that are there.

    Raises:
        UserError: a mistake in what was given.
    """
    bench, out = Benchmark.open(benchmark), Path(out)
    settings = make_options(preset, {"fps": bench.fps, **options})
    _require_writable(out)
    from fantasyportrait.pipeline import load_pipeline
    from fantasyportrait.workload import largest_workload

    pipeline = load_pipeline(model, from_dict(RuntimeConfig, runtime or {}), loras=loras, finder=_finder(face_models))
    pipeline.check(settings)
    people = max((len(case.face_map) for case in bench.cases), default=1)
    frames = settings.frames or round(bench.clip_seconds * bench.fps)
    plan = pipeline.plan(largest_workload(pipeline.folder, settings, frames, people, pipeline.runtime.context_parallel))
    identity = {
        "benchmark": bench.sha256,
        "checkpoint": pipeline.folder.name,
        "faces": "mediapipe" if face_models is None else "released",
        "loras": [str(lora) for lora in pipeline.loras],
        "marked": mark,
        "options": settings.as_dict(),
        "weights": plan.weights,
    }
    _claim(out, identity, overwrite)
    which, count = shard or (pipeline.ranks.case + 1, pipeline.ranks.num_cases)
    cases = bench.select(split, track)[which - 1 :: count]
    made, skipped, failed = [], [], {}
    for i, case in enumerate(cases, 1):
        target = out / f"{case.case_id}.mp4"
        if target.exists() and not overwrite:
            skipped.append(case.case_id)
            continue
        say(f"{case.case_id} ({i} of {len(cases)})")
        try:
            _make_case(pipeline, bench, case, settings, target, mark)
            made.append(case.case_id)
        except ItemError as error:
            failed[case.case_id] = str(error)
            say(f"{case.case_id} failed: {error}")
    _note_failures(out, failed, {*made, *skipped}, f"{which}-of-{count}")
    return BenchmarkRun(made=tuple(made), skipped=tuple(skipped), failed=failed)


def _make_case(
    pipeline: "Pipeline", bench: Benchmark, case: Case, options: SamplingConfig, target: Path, marked: bool
) -> None:
    from fantasyportrait.inputs import prepare_inputs

    drivers = [bench.path(driver) for driver in case.drivers]
    try:
        inputs = prepare_inputs(bench.path(case.source), drivers, options, given=case.face_map, finder=pipeline.finder)
    except UserError as error:  # here one case's, not the run's
        raise ItemError("case_unusable", str(error)) from error
    pipeline.make(inputs, options, target, marked=marked)


def _claim(out: Path, identity: dict[str, Any], overwrite: bool) -> None:
    """Write down what the folder's videos are made with, or refuse to mix them with others."""
    path = out / RUN
    before = {} if overwrite else read_json(path)
    if before:
        changed = [key for key in identity if before.get(key) != identity[key]]
        if changed:
            what = ", ".join(_differences(before, identity, changed))
            raise UserError(f"{out} holds videos made otherwise ({what}); choose another --out or say --overwrite")
    write_json(path, identity)


def _differences(before: dict[str, Any], now: dict[str, Any], keys: list[str]) -> list[str]:
    told = []
    for key in keys:
        if key == "options":
            old = before.get("options", {})
            told += [f"{k} {old.get(k)!r}, not {v!r}" for k, v in now["options"].items() if old.get(k) != v]
        else:
            told.append(f"{key} {before.get(key)!r}, not {now[key]!r}")
    return told


def _note_failures(out: Path, failed: dict[str, str], well: set[str], shard: str) -> None:
    """Keep a list of what failed, a file a shard; cases that went well since are struck off."""
    path = out / f"failed-{shard}.json"
    left = {case: why for case, why in {**read_json(path), **failed}.items() if case not in well}
    if left:
        write_json(path, left)
    else:
        path.unlink(missing_ok=True)
