"""Files of a model: the project's model folder, and the Wan2.1 download it refers to."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError
from exprbench.core.files import read_json, write_json
from fantasyportrait.checkpoints.formats import infer_backbone_config, open_as
from fantasyportrait.checkpoints.layout import (
    ADAPTER_FILE,
    EXPRESSION_FILE,
    FILE_PATTERNS,
    MANIFEST,
    MANIFEST_FORMAT,
    TOKENIZERS,
    find_component,
    read_manifest,
)
from fantasyportrait.checkpoints.shards import find_checkpoint
from fantasyportrait.checkpoints.tensors import Tensors, open_tensors
from fantasyportrait.model.configs import AdapterConfig, BackboneConfig


@dataclass(frozen=True)
class WanCheckpoint:
    """Wan2.1 image-to-video download in the published or diffusers layout.

    Components are `backbone`, `VAE`, `text encoder` and `image encoder`.
    """

    path: Path

    def files(self, component: str) -> tuple[Path, ...]:
        """Return the files of a component, with all its shards.

        Raises:
            UserError: there are none, a shard is missing, or there are several checkpoints of the component.
        """
        return find_component(self.path, component)

    def has(self, component: str) -> bool:
        """Return whether there are files of a component.

        Raises:
            UserError: they are incomplete.
        """
        return any(find_checkpoint(self.path, pattern) for pattern in FILE_PATTERNS[component])

    def tensors(self, component: str) -> Tensors:
        """Return the tensors of a component under internal names."""
        return open_as(component, open_tensors(*self.files(component)))

    def config(self, component: str) -> dict[str, Any]:
        """Return the contents of the `config.json` in a component's folder, or an empty dict if there is none."""
        return read_json(self.files(component)[0].parent / "config.json")

    @property
    def image_encoder_num_heads(self) -> int | None:
        """Return the number of attention heads in the image encoder's own configuration, or None if it has none."""
        config = self.config("image encoder")
        return config.get("num_attention_heads") if "hidden_size" in config else None

    @property
    def tokenizer(self) -> Path | None:
        """Return the folder of the text encoder's tokenizer, or None if there is none."""
        return next((self.path / name for name in TOKENIZERS if (self.path / name).is_dir()), None)

    @cached_property
    def backbone(self) -> BackboneConfig:
        """Return the size of the backbone.

        Raises:
            UserError: the files are of another model, such as Wan's text-to-video model.
        """
        config, tensors = self.config("backbone"), self.tensors("backbone")
        num_heads = config.get("num_heads") or config.get("num_attention_heads")
        backbone = infer_backbone_config(tensors.shapes, num_heads)
        if not backbone.image_dim or backbone.in_channels != 36:
            raise UserError(f"{tensors.source} is not an image-to-video model; download Wan2.1-I2V-14B-720P")
        return backbone


@dataclass(frozen=True)
class ModelFolder:
    """Folder written by `fantasyportrait convert`: adapter, expression encoder, and the path of the base."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Return the contents of `fantasyportrait.json`.

        Raises:
            UserError: the folder is not a model folder, or is of another version.
        """
        return read_manifest(self.path)

    @property
    def base(self) -> WanCheckpoint:
        """Return the Wan2.1 download; a relative path is relative to the folder."""
        return WanCheckpoint(self.path / self.manifest["base"])

    @property
    def name(self) -> str:
        """Return the checkpoint's name for metadata: its source and the beginning of its hash."""
        return f"{self.manifest['adapter']['from']} sha256:{self.manifest['adapter']['sha256'][:16]}"

    @cached_property
    def adapter(self) -> AdapterConfig:
        """Return the size of the adapter."""
        return AdapterConfig(**self.manifest["adapter"]["config"])

    def adapter_tensors(self) -> Tensors:
        """Return the adapter's tensors under internal names."""
        return open_as("adapter", open_tensors(self.path / ADAPTER_FILE))

    def expression_tensors(self) -> Tensors:
        """Return the expression encoder's tensors under their published names."""
        return open_as("expression encoder", open_tensors(self.path / EXPRESSION_FILE))

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write `fantasyportrait.json`, last of all files: a folder that has it is complete."""
        write_json(self.path / MANIFEST, {"format": MANIFEST_FORMAT, **manifest})
