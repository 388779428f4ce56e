"""Checks of arguments that answer at once: they need neither PyTorch nor the contents of large files."""

import re
from collections.abc import Iterable
from pathlib import Path

from exprbench.core.errors import UserError, unknown_name
from fantasyportrait.checkpoints.layout import check_model_files, read_manifest
from fantasyportrait.checkpoints.lora_names import parse_lora
from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.settings import ATTENTION_KERNELS, RuntimeConfig

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif")
IMAGE_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")


def check_model(model: Path, loras: Iterable[str], face_models: Iterable[Path]) -> None:
    """Raise UserError if a model folder is incomplete or a LoRA or ONNX file is missing."""
    check_model_files(model)
    for path in [*(parse_lora(text)[0] for text in loras), *face_models]:
        _check_file(path)


def check_runtime(runtime: RuntimeConfig) -> None:
    """Raise UserError if there is no device or attention kernel of the given name."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", runtime.device):
        raise UserError(f"--device is {runtime.device!r}; expected cpu, cuda or one GPU such as cuda:1")
    if runtime.attention not in ATTENTION_KERNELS:
        raise unknown_name("attention kernel", runtime.attention, list(ATTENTION_KERNELS))


def check_driver(path: Path) -> None:
    """Raise UserError if a driver does not exist or is an image, by its suffix or its first bytes."""
    if not path.exists():
        raise UserError(f"there is no driver {path}")
    if path.is_file() and (path.suffix.lower() in IMAGE_SUFFIXES or _is_image(path)):
        raise UserError(f"the driver {path} is an image; a driver is a video")


def _is_image(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(12)
    return start.startswith(IMAGE_SIGNATURES) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def check_convert(
    base: Path | None, adapter: Path | None, expression: Path | None, model: Path | None, random: str | None
) -> None:
    """Raise UserError if a file or folder to convert does not exist, or the size of a random model is unknown."""
    if base is not None and not base.is_dir():
        raise UserError(f"there is no folder {base}; expected a Wan2.1-I2V download")
    for path in filter(None, (adapter, expression)):
        _check_file(path)
    if model is not None:
        read_manifest(model)
    if random is not None and random not in MODEL_CONFIGS:
        raise unknown_name("size", random, list(MODEL_CONFIGS))


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"there is no file {path}")
