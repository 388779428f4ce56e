"""File names of a model folder and of a Wan2.1 download, and checks of them that need neither PyTorch nor headers."""

from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError
from exprbench.core.files import read_json
from fantasyportrait.checkpoints.shards import find_checkpoint

MANIFEST, MANIFEST_FORMAT = "fantasyportrait.json", 1
ADAPTER_FILE, EXPRESSION_FILE, PROMPT_FILE = "adapter.safetensors", "expression.safetensors", "empty_prompt.safetensors"

# Files of a Wan2.1 image-to-video download: in the published layout, and in diffusers' layout.
FILE_PATTERNS = {
    "backbone": ("diffusion_pytorch_model*.safetensors", "transformer/*.safetensors"),
    "VAE": ("Wan2.1_VAE.*", "vae/*.safetensors"),
    "text encoder": ("models_t5_*", "text_encoder/*.safetensors"),
    "image encoder": ("models_clip_*", "image_encoder/*.safetensors"),
}
TOKENIZERS = ("google/umt5-xxl", "tokenizer")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the contents of a model folder's `fantasyportrait.json`.

    Raises:
        UserError: the folder is not a model folder, or is of another version.
    """
    file = folder / MANIFEST
    if not file.is_file():
        raise UserError(f"{folder} is not a model folder (no {MANIFEST}); create one with: fantasyportrait convert")
    manifest = read_json(file)
    if manifest.get("format") != MANIFEST_FORMAT:
        raise UserError(
            f"{file} has format {manifest.get('format')}; this version reads {MANIFEST_FORMAT}; convert the model again"
        )
    if missing := {"adapter", "expression", "base"} - set(manifest):
        raise UserError(f"{file} has no entry for {', '.join(sorted(missing))}; convert the model again")
    return manifest


def find_component(base: Path, component: str) -> tuple[Path, ...]:
    """Return the files of a component of a Wan2.1 download, with all its shards.

    Raises:
        UserError: there are none, a shard is missing, or there are several checkpoints of the component.
    """
    if not base.is_dir():
        raise UserError(f"there is no folder {base}; expected a Wan2.1-I2V download")
    for pattern in FILE_PATTERNS[component]:
        if files := find_checkpoint(base, pattern):
            return files
    published, diffusers = FILE_PATTERNS[component]
    raise UserError(f"{base} has no {component}; expected {published} or {diffusers}")


def check_model_files(folder: Path) -> None:
    """Raise UserError if a model folder lacks a file, or its base a component other than the text encoder."""
    manifest = read_manifest(folder)
    for name in (ADAPTER_FILE, EXPRESSION_FILE):
        if not (folder / name).is_file():
            raise UserError(f"there is no file {folder / name}; convert the model again")
    base = folder / manifest["base"]
    if not base.is_dir():
        raise UserError(f"there is no folder {base}, the base of {folder}; move it back or convert the model again")
    for component in ("backbone", "VAE", "image encoder"):
        find_component(base, component)
