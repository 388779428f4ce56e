"""Public functions of training: `prepare`, `train` and `plan`."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exprbench.benchmark import Benchmark
from exprbench.core.errors import UserError
from exprbench.core.locks import sole_writer
from exprbench.core.progress import say
from fantasyportrait.backbone import resolve_device
from fantasyportrait.checkpoints.layout import PROMPT_FILE
from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.checkpoints.tensors import open_tensors
from fantasyportrait.model.configs import AUGMENTED, MODEL_CONFIGS, AdapterConfig
from fantasyportrait.model.text_image_encoders import tokenize_prompt
from fantasyportrait.settings import SamplingConfig
from fantasyportrait.training.clip_encoder import ClipEncoder, EncodingConfig
from fantasyportrait.training.clip_sources import ClipFile, list_clips, parse_source
from fantasyportrait.training.drawn_faces import draw_clips
from fantasyportrait.training.export_run import export_run, write_run
from fantasyportrait.training.initial_weights import build_model
from fantasyportrait.training.latent_cache import EncodedOnTheFly, ExampleStore, InMemory, LatentCache, write_cache
from fantasyportrait.training.loss_curve import write_loss_curve
from fantasyportrait.training.mixing_sampler import MixingSampler, SamplerState
from fantasyportrait.training.predictions import describe, predict
from fantasyportrait.training.recipes import get_recipe
from fantasyportrait.training.sharding import init_training_ranks
from fantasyportrait.training.tiny_run import sample_tiny, write_tiny_model
from fantasyportrait.training.trainer import Trainer
from fantasyportrait.training.training_config import TrainingConfig, override
from fantasyportrait.training.validation_videos import validate_with_benchmark

TINY_SOURCE = "drawn"


def prepare(
    *,
    model: Path | str,
    sources: Sequence[str],
    out: Path | str,
    recipe: str = "paper-14b",
    settings: dict[str, str] | None = None,
    reference: str = "first",
    dtype: str = "bf16",
    device: str = "auto",
) -> str:
    """Encode the clips of sources into a latent cache, and return a line for the user.

    Args:
        model: model folder with the encoders.
        sources: `NAME=PATH` of each source; see `list_clips` for the kinds of paths.
        out: folder of the cache; an interrupted run is resumed.
        recipe: sizes, number of frames and frame rate are the recipe's.
        settings: settings of the recipe that are replaced.
        reference: reference frame of each clip: its `first`, a `random` one, or the first of the whole `video`.
        dtype: data type of stored latents and embeddings, `bf16` or `fp32`.
        device: device of the encoders.

    Raises:
        UserError: an argument is wrong, or the cache was made with other settings.
    """
    _adopt_slurm()
    config = override(get_recipe(recipe), settings or {})
    encoder = ClipEncoder(ModelFolder(Path(model)), _encoding(config, reference, dtype), resolve_device(device))
    clips = _list_all(sources)
    if caption := next((clip.caption for clip in clips if clip.caption), None):
        tokenize_prompt(caption, encoder.folder.base.tokenizer)  # a base without tokenizer is refused at once
    with _sole_run(Path(out)):
        write_cache(Path(out), clips, encoder)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return f"{out}: the share of process {os.environ.get('RANK', '0')} is written"
    cache = LatentCache(Path(out))
    _say_excluded(cache.excluded)
    return f"{out}: {len(cache.entries)} examples, {len(cache.excluded)} clips excluded"


def _say_excluded(excluded: dict[str, str]) -> None:
    for clip, reason in excluded.items():
        say(f"{clip} is excluded: {reason}")


def _encoding(config: TrainingConfig, reference: str = "first", dtype: str = "bf16") -> EncodingConfig:
    return EncodingConfig(
        sizes=config.sizes, num_frames=config.num_frames, fps=config.fps, reference=reference, dtype=dtype
    )


def _list_all(sources: Sequence[str]) -> list[ClipFile]:
    return [clip for name, path in map(parse_source, sources) for clip in list_clips(name, path)]


def train(
    *,
    out: Path | str,
    recipe: str = "paper-14b",
    settings: dict[str, str] | None = None,
    model: Path | str | None = None,
    data: Path | str | None = None,
    sources: Sequence[str] = (),
    continue_adapter: bool = False,
    benchmark: Path | str | None = None,
    num_cases: int = 4,
    device: str = "auto",
    reference: str = "first",
) -> list[str]:
    """Train a model, and return lines for the user. A run that was stopped continues from its last checkpoint.

    Args:
        out: folder of the run: settings, checkpoints, metrics, validation videos, and at the end the trained model.
        recipe: name of a recipe, or `FILE.py:FUNCTION`.
        settings: settings of the recipe that are replaced, by name, such as `{"optimizer.learning_rate": "2e-4"}`.
        model: model folder with the base and the expression encoder; not needed for `tiny`.
        data: latent cache of `prepare`.
        sources: `NAME=PATH` of sources that are encoded on the fly, instead of `data`.
        continue_adapter: start from the adapter of the model folder instead of a new one.
        benchmark: ExprBench folder whose cases are generated and scored at every validation.
        num_cases: number of validation cases of each track.
        device: device of this process.
        reference: reference frame of clips that are encoded on the fly, as for `prepare`.

    Raises:
        UserError: an argument is wrong, or the loss is not finite.
    """
    _adopt_slurm()
    config, out = override(get_recipe(recipe), settings or {}), Path(out)
    bench = Benchmark.open(Path(benchmark)) if benchmark else None
    with _sole_run(out):
        is_tiny = config.recipe == "tiny" and model is None and data is None
        if is_tiny:
            sources = sources or _draw_clips(out)
            model = _make_tiny(config, out, sources)
        if model is None:
            raise UserError("no model to train; give --model with a folder of fantasyportrait convert")
        folder = ModelFolder(Path(model))
        adapter = replace(folder.adapter, augmented=AUGMENTED[config.augment])
        target = resolve_device(device)
        store = _open_data(config, folder, Path(data) if data else None, sources, reference, target)
        messages = _train(
            config, folder, adapter, store, out, target,
            continue_adapter=continue_adapter, bench=bench, num_cases=num_cases,
        )  # fmt: skip
        if is_tiny:
            messages.append(f"wrote {sample_tiny(config, out, _first_used(_list_all(sources), store))}")
        return messages


def _first_used(clips: Sequence[ClipFile], store: ExampleStore) -> Path:
    """Return the first video that has an example."""
    used = {entry.name.rpartition("#")[0] for entry in store.entries}
    return next(clip.path for clip in clips if f"{clip.source}/{clip.name}" in used)


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _sole_run(out: Path) -> AbstractContextManager[None]:
    """Lock the output folder in the main process: two runs cannot write it at once."""
    return sole_writer(out) if _is_main() else nullcontext()


def plan(
    *,
    recipe: str = "paper-14b",
    settings: dict[str, str] | None = None,
    model: Path | str | None = None,
    data: Path | str | None = None,
    devices: int | None = None,
    tokens_per_s: float | None = None,
) -> str:
    """Return the prediction of a run: parameters, memory per device, steps, time and cost.

    Args:
        recipe, settings, model, data: as for `train`; without a model, the size of the recipe's is used.
        devices: number of devices; by default, the number of processes.
        tokens_per_s: measured tokens per second of one device; by default, an assumed utilisation is used.
    """
    config = override(get_recipe(recipe), settings or {})
    size = MODEL_CONFIGS[config.size]
    folder = ModelFolder(Path(model)) if model else None
    found = predict(
        config,
        folder.base.backbone if folder else size.backbone,
        replace(folder.adapter if folder else size.adapter, augmented=AUGMENTED[config.augment]),
        world_size=devices or int(os.environ.get("WORLD_SIZE", "1")),
        num_examples=len(LatentCache(Path(data)).entries) if data else None,
        tokens_per_s=tokens_per_s,
    )
    return describe(config, found)


def _adopt_slurm() -> None:
    """Take the ranks of `srun` where torchrun has set none; MASTER_ADDR and MASTER_PORT come from the job script."""
    if "RANK" not in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ:
        names = {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_NTASKS", "LOCAL_RANK": "SLURM_LOCALID"}
        os.environ.update({name: os.environ[slurm] for name, slurm in names.items()})


def _draw_clips(out: Path) -> list[str]:
    draw_clips(out / "clips")
    return [f"{TINY_SOURCE}={out / 'clips'}"]


def _make_tiny(config: TrainingConfig, out: Path, sources: Sequence[str]) -> Path:
    """Write the model of the `tiny` recipe for clips, and return its folder.

    Raises:
        UserError: several processes would write it at once.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("the tiny recipe makes its own model in one process; start it alone, or give --model")
    write_tiny_model(out / "untrained", _list_all(sources), config)
    return out / "untrained"


def _open_data(
    config: TrainingConfig,
    folder: ModelFolder,
    data: Path | None,
    sources: Sequence[str],
    reference: str,
    device: torch.device,
) -> ExampleStore:
    if (data is None) == (not sources):
        raise UserError("give either --data with a cache of fantasyportrait prepare, or --source")
    if data is None:
        dtype = "fp32" if config.precision == "fp32" else "bf16"
        encoder = ClipEncoder(folder, _encoding(config, reference, dtype), device)
        encoded = EncodedOnTheFly(_list_all(sources), encoder)
        if _is_main():
            _say_excluded(encoded.excluded)
        store: ExampleStore = InMemory(encoded)
    else:
        store = LatentCache(data)
        encoder = ClipEncoder(folder, _encoding(config))
        store.check_encoders({k: v for k, v in encoder.identity().items() if k not in ("reference", "dtype")})
    if not store.entries:
        raise UserError("the data hold no examples: all clips were excluded; give others")
    return store


def read_empty_prompt(folder: ModelFolder) -> Tensor:
    """Return the embedding of the empty prompt, (1, 512, text_dim), as sampling uses it.

    Raises:
        UserError: the folder does not hold it.
    """
    path = folder.path / PROMPT_FILE
    if not path.is_file():
        raise UserError(f"there is no file {path}; convert the model again with a base that has its text encoder")
    return open_tensors(path)["empty"]


def _train(
    config: TrainingConfig,
    folder: ModelFolder,
    adapter: AdapterConfig,
    store: ExampleStore,
    out: Path,
    device: torch.device,
    *,
    continue_adapter: bool,
    bench: Benchmark | None,
    num_cases: int,
) -> list[str]:
    ranks = init_training_ranks(device, config, folder.base.backbone.num_attention_heads)
    MixingSampler(store.entries, config.sources, config.batch_size, SamplerState(seed=config.seed))  # names of sources
    if ranks.is_main:
        write_run(out, config, adapter, folder.path)
    model = build_model(config, folder, adapter, device, ranks, continue_adapter=continue_adapter)
    trainer = Trainer(config, model, store, empty_prompt=read_empty_prompt(folder), out=out, device=device, ranks=ranks)

    def validate(trainer: Trainer) -> dict[str, Any]:
        sampling = SamplingConfig(size="x".join(map(str, config.sizes[0])), fps=config.fps, frames=config.num_frames)
        videos = out / "validation" / f"step-{trainer.step:07d}"
        return validate_with_benchmark(
            model, folder, bench, videos, sampling,  # type: ignore[arg-type]
            device=device, ranks=ranks, precision=config.precision, limit=num_cases,
        )  # fmt: skip

    trainer.run(on_validation=validate if bench else None)
    if not ranks.is_main:
        return []
    write_loss_curve(out, out / "loss_curve.png")
    return [f"wrote {out / 'loss_curve.png'}", *export_run(out, out / "model")]
