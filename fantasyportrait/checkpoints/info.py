"""`fantasyportrait info`: identification of a file or folder by headers alone."""

from pathlib import Path
from typing import Any

import torch

from exprbench.core.errors import UserError
from exprbench.core.state_dicts import compare_shapes
from fantasyportrait.checkpoints.formats import OPTIONAL, detect_format, infer_adapter_config, open_as
from fantasyportrait.checkpoints.layout import FILE_PATTERNS, MANIFEST
from fantasyportrait.checkpoints.model_folder import ModelFolder, WanCheckpoint
from fantasyportrait.checkpoints.tensors import PICKLES, Tensors, open_tensors


def info(path: Path | str) -> dict[str, Any]:
    """Describe a model folder, a Wan2.1 download, a checkpoint file, or a generated video.

    Raises:
        UserError: the path is none of them.
    """
    path = Path(path)
    if (path / MANIFEST).is_file():
        return _describe_model_folder(ModelFolder(path))
    if path.is_dir():
        return _describe_base(WanCheckpoint(path))
    if path.suffix in PICKLES or path.suffix == ".safetensors":
        return _describe_checkpoint(open_tensors(path))
    return _describe_video(path)


def _describe_model_folder(folder: ModelFolder) -> dict[str, Any]:
    from fantasyportrait.checkpoints.loading import check_model_folder

    check_model_folder(folder)
    return {
        "is": "model folder",
        "checkpoint": folder.name,
        "adapter": folder.manifest["adapter"]["config"],
        "base": _describe_base(folder.base),
    }


def _describe_base(base: WanCheckpoint) -> dict[str, Any]:
    parts = {}
    for component in FILE_PATTERNS:
        parts[component] = _describe_component(base, component)
    if set(parts.values()) == {"missing"}:
        raise UserError(f"{base.path} is neither a model folder (no {MANIFEST}) nor a Wan2.1 download")
    description: dict[str, Any] = {"is": "Wan2.1 download", "path": str(base.path), "parts": parts}
    if parts["backbone"].startswith("backbone"):
        description["size"] = vars(base.backbone)
    return description


def _describe_component(base: WanCheckpoint, component: str) -> str:
    try:
        if not base.has(component):
            return "missing"
        files = base.files(component)
        detected = detect_format(open_tensors(*files))
    except UserError as error:
        return f"incomplete: {error}"
    return f"{detected[0]}, {len(files)} file(s)" if detected else "not recognised"


def _describe_checkpoint(tensors: Tensors) -> dict[str, Any]:
    detected = detect_format(tensors)
    description: dict[str, Any] = {
        "is": str(detected[0]) if detected else "unknown",
        "tensors": len(tensors),
        "parameters": sum(torch.Size(shape).numel() for shape in tensors.shapes.values()),
        "types": sorted({str(tensors.dtype(n)).removeprefix("torch.") for n in tensors}),
    }
    if detected and detected[0].component == "adapter":
        description |= _describe_adapter(open_as("adapter", tensors))
    elif not detected:
        description["first names"] = list(tensors)[:5]
    return description


def _describe_adapter(tensors: Tensors) -> dict[str, Any]:
    from fantasyportrait.checkpoints.loading import get_shapes
    from fantasyportrait.model.adapter import MotionAdapter

    config = infer_adapter_config(tensors.shapes)
    with torch.device("meta"):
        expected = get_shapes(MotionAdapter(config))
    return {"size": vars(config), "differences": str(compare_shapes(expected, tensors.shapes, optional=OPTIONAL))}


def _describe_video(path: Path) -> dict[str, Any]:
    from fantasyportrait.watermark import read_generation_metadata

    if not path.is_file():
        raise UserError(f"there is no file {path}")
    record = read_generation_metadata(path)
    if record is None:
        raise UserError(f"{path} is neither a checkpoint nor a video with metadata of fantasyportrait")
    return {"is": "video made by fantasyportrait", **record}
