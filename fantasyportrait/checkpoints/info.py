"""`fantasyportrait info`: what a file or folder is, from headers alone."""

from pathlib import Path
from typing import Any

import torch

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.formats import account, adapter_config, detect_format, open_as
from fantasyportrait.checkpoints.model_folder import ABOUT, PLACES, Base, ModelFolder
from fantasyportrait.checkpoints.tensors import PICKLES, Tensors, open_tensors


def info(path: Path | str) -> dict[str, Any]:
    """What lies at a path: a model folder, a Wan2.1 download, a checkpoint file, or a video made here.

    Raises:
        UserError: none of them.
    """
    path = Path(path)
    if (path / ABOUT).is_file():
        return _folder(ModelFolder(path))
    if path.is_dir():
        return _base(Base(path))
    if path.suffix in PICKLES or path.suffix == ".safetensors":
        return _file(open_tensors(path))
    return _video(path)


def _folder(folder: ModelFolder) -> dict[str, Any]:
    from fantasyportrait.checkpoints.loading import check

    check(folder)
    return {"is": "model folder", "checkpoint": folder.name, "adapter": folder.about["adapter"]["config"],
            "base": _base(folder.base)}  # fmt: skip


def _base(base: Base) -> dict[str, Any]:
    parts = {}
    for model in PLACES:
        try:
            files = base.files(model)
        except UserError:
            parts[model] = "missing"
        else:
            found = detect_format(open_tensors(*files))
            parts[model] = f"{found[0]}, {len(files)} file(s)" if found else "not recognised"
    if set(parts.values()) == {"missing"}:
        raise UserError(f"{base.path} is neither a model folder (no {ABOUT}) nor a Wan2.1 download")
    told: dict[str, Any] = {"is": "Wan2.1 download", "path": str(base.path), "parts": parts}
    if parts["backbone"] != "missing":
        told["size"] = vars(base.backbone)
    return told


def _file(tensors: Tensors) -> dict[str, Any]:
    found = detect_format(tensors)
    told: dict[str, Any] = {
        "is": str(found[0]) if found else "unknown",
        "tensors": len(tensors),
        "parameters": sum(torch.Size(shape).numel() for shape in tensors.shapes.values()),
        "types": sorted({str(tensors.dtype(n)).removeprefix("torch.") for n in tensors}),
    }
    if found and found[0].model == "adapter":
        told |= _adapter(open_as("adapter", tensors))
    elif not found:
        told["first names"] = list(tensors)[:5]
    return told


def _adapter(tensors: Tensors) -> dict[str, Any]:
    from fantasyportrait.checkpoints.loading import shapes_of
    from fantasyportrait.model.adapter import MotionAdapter

    config = adapter_config(tensors.shapes)
    with torch.device("meta"):
        wanted = shapes_of(MotionAdapter(config))
    return {"size": vars(config), "differences": str(account(wanted, tensors.shapes))}


def _video(path: Path) -> dict[str, Any]:
    from fantasyportrait.watermark import read_generation_metadata

    if not path.is_file():
        raise UserError(f"there is no file {path}")
    record = read_generation_metadata(path)
    if record is None:
        raise UserError(f"{path} is neither a checkpoint nor a video that says it was made by fantasyportrait")
    return {"is": "video made by fantasyportrait", **record}
