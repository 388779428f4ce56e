"""Export of a training run as a model folder for the sampler."""

import os
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from exprbench.core.errors import UserError
from exprbench.core.files import read_json, write_json
from exprbench.core.schema import decode
from fantasyportrait.checkpoints.export import save_shards
from fantasyportrait.checkpoints.key_mapping import BACKBONE
from fantasyportrait.checkpoints.model_folder import ModelFolder, WanCheckpoint
from fantasyportrait.checkpoints.model_writer import write_model_folder
from fantasyportrait.checkpoints.tensors import Tensors, save_tensors
from fantasyportrait.model.configs import AdapterConfig
from fantasyportrait.training.run_checkpoints import find_checkpoints, read_trained
from fantasyportrait.training.training_config import TrainingConfig

RUN_FILE = "run.json"
LORA_FILE = "lora.safetensors"


def write_run(out: Path, config: TrainingConfig, adapter: AdapterConfig, model: Path) -> None:
    """Record the settings of a run in its folder, or check that they are those of the run it continues.

    Raises:
        UserError: the folder holds a run of other settings.
    """
    record = {"config": config.as_dict(), "adapter": vars(adapter), "model": os.path.relpath(model, out)}
    found = read_json(out / RUN_FILE)
    fixed = {"recipe", "backbone", "lora_rank", "lora_alpha", "augment", "objective", "sources", "batch_size", "seed"}
    changed = [key for key in sorted(fixed) if found and _json(record["config"][key]) != found["config"][key]]
    if changed:
        raise UserError(f"{out} holds a run of other settings ({', '.join(changed)}); choose another --out")
    write_json(out / RUN_FILE, record)


def _json(value: Any) -> Any:
    return [_json(v) for v in value] if isinstance(value, (list, tuple)) else value


def read_run(run: Path) -> tuple[TrainingConfig, AdapterConfig, ModelFolder]:
    """Return the settings of a run, the size of its adapter, and the model folder it began with.

    Raises:
        UserError: the folder is not a run.
    """
    record = read_json(run / RUN_FILE)
    if not record:
        raise UserError(f"{run} is not a training run (no {RUN_FILE}); expected the --out of fantasyportrait train")
    config = decode(TrainingConfig, record["config"], f"{run / RUN_FILE}: config")
    return config, AdapterConfig(**record["adapter"]), ModelFolder(run / record["model"])


def export_run(run: Path, out: Path, *, average: bool = True) -> list[str]:
    """Write the newest checkpoint of a run as a model folder and return lines for the user.

    With a LoRA, the folder also holds `lora.safetensors`, to be used with `--lora`. With a backbone trained in full,
    the folder has its own base; components that are not trained are links to those of the original.

    Args:
        run: folder of the run, or of one of its checkpoints.
        out: the folder to write.
        average: whether to export the averaged weights, if the run has them.

    Raises:
        UserError: there is no run or no checkpoint.
    """
    checkpoint = run if run.name.startswith("step-") else next(iter(reversed(find_checkpoints(run))), None)
    if checkpoint is None:
        raise UserError(f"{run} has no checkpoint yet; train until the first one (save_every)")
    run = checkpoint.parent.parent
    config, adapter, folder = read_run(run)
    tensors = read_trained(checkpoint, average=average)
    base = folder.base
    messages = []
    if config.backbone == "full":
        base = _write_base(out / "base", base, _part(tensors, "backbone."))
    elif config.backbone == "lora":
        save_tensors(out / LORA_FILE, lora_state(_part(tensors, "backbone."), config.lora_alpha))
        messages.append(f"wrote {out / LORA_FILE}; sample with --lora {out / LORA_FILE}")
    messages += write_model_folder(
        out,
        _part(tensors, "adapter."),
        folder.expression_tensors(),
        base,
        config=vars(adapter),
        origin=f"{config.recipe} {checkpoint.name}",
    )
    return [*messages, f"wrote {out} from {checkpoint}"]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _write_base(out: Path, base: WanCheckpoint, tensors: dict[str, Tensor]) -> WanCheckpoint:
    """Write a base in diffusers' layout with its own backbone; the other files are links."""
    transformer = {path.resolve() for path in base.files("backbone")}
    out.mkdir(parents=True, exist_ok=True)
    for path in base.path.iterdir():
        is_backbone = path.name == "transformer" or path.resolve() in transformer or path.name.endswith(".index.json")
        if not is_backbone and not (out / path.name).exists():
            _link(path.resolve(), out / path.name)
    save_shards(out / "transformer", "diffusion_pytorch_model", Tensors(tensors, "the run"))
    write_json(out / "transformer/config.json", base.backbone.to_diffusers())
    return WanCheckpoint(out)


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError:  # a file system without links
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)


def lora_state(tensors: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Return LoRA matrices under the published names, as other tools read them: NAME.lora_A.weight, NAME.alpha."""
    import torch

    state = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.removesuffix(".weight").rpartition(".lora_")
        published = BACKBONE.to_published(f"{layer}.weight").removesuffix(".weight")  # type: ignore[union-attr]
        state[f"diffusion_model.{published}.lora_{kind.upper()}.weight"] = tensor
        state[f"diffusion_model.{published}.alpha"] = torch.tensor(float(alpha))
    return state
