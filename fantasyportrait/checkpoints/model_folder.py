"""Where the parts of a model lie: the project's own model folder, and the Wan2.1 download it stands on."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError
from exprbench.core.files import read_json, write_json
from fantasyportrait.checkpoints.formats import backbone_config, open_as
from fantasyportrait.checkpoints.tensors import Tensors, open_tensors
from fantasyportrait.model.configs import AdapterConfig, BackboneConfig

ABOUT, FORMAT = "fantasyportrait.json", 1
ADAPTER_FILE, EXPRESSION_FILE, PROMPT_FILE = "adapter.safetensors", "expression.safetensors", "empty_prompt.safetensors"

# What to look for in a Wan2.1 image-to-video download: as published, and as diffusers lays it out.
PLACES = {
    "backbone": ("diffusion_pytorch_model*.safetensors", "transformer/*.safetensors"),
    "VAE": ("Wan2.1_VAE.*", "vae/*.safetensors"),
    "text encoder": ("models_t5_*", "text_encoder/*.safetensors"),
    "image encoder": ("models_clip_*", "image_encoder/*.safetensors"),
}
TOKENIZERS = ("google/umt5-xxl", "tokenizer")


@dataclass(frozen=True)
class Base:
    """A Wan2.1 image-to-video download, published or diffusers layout."""

    path: Path

    def files(self, model: str) -> tuple[Path, ...]:
        """The files of one part, every shard there.

        Raises:
            UserError: there are none, or a shard that their index lists is missing.
        """
        for pattern in PLACES[model]:
            found = sorted(self.path.glob(pattern))
            indexes = list(self.path.glob(f"{Path(pattern).parent}/*.index.json")) if model != "VAE" else []
            if found and indexes:
                _require_shards(indexes[0], found)
            if found:
                return tuple(found)
        raise UserError(f"{self.path} holds no {model}: neither {PLACES[model][0]} nor {PLACES[model][1]}")

    def tensors(self, model: str) -> Tensors:
        """The tensors of one part, under our names."""
        return open_as(model, open_tensors(*self.files(model)))

    def config(self, model: str) -> dict[str, Any]:
        """What the `config.json` beside a part says, if there is one."""
        return read_json(self.files(model)[0].parent / "config.json")

    @property
    def image_heads(self) -> int | None:
        """Attention heads of the image encoder, where its own configuration says."""
        config = self.config("image encoder")
        return config.get("num_attention_heads") if "hidden_size" in config else None

    @property
    def tokenizer(self) -> Path | None:
        """The folder of the text encoder's tokenizer."""
        return next((self.path / name for name in TOKENIZERS if (self.path / name).is_dir()), None)

    @cached_property
    def backbone(self) -> BackboneConfig:
        """The backbone's size.

        Raises:
            UserError: the files hold another model, Wan's text-to-video one for instance.
        """
        config, tensors = self.config("backbone"), self.tensors("backbone")
        size = backbone_config(tensors.shapes, config.get("num_heads") or config.get("num_attention_heads"))
        if not size.image_dim or size.in_channels != 36:
            raise UserError(f"{tensors.where} is not an image-to-video model; get Wan2.1-I2V-14B-720P")
        return size


def _require_shards(index: Path, found: list[Path]) -> None:
    wanted = set(read_json(index).get("weight_map", {}).values())
    if missing := sorted(wanted - {path.name for path in found}):
        raise UserError(f"{index.parent} lacks {', '.join(missing)}; finish the download")


@dataclass(frozen=True)
class ModelFolder:
    """What `fantasyportrait convert` writes: the adapter, the expression encoder, and where the base is."""

    path: Path

    @cached_property
    def about(self) -> dict[str, Any]:
        """The contents of `fantasyportrait.json`.

        Raises:
            UserError: the folder is not one of ours.
        """
        file = self.path / ABOUT
        if not file.is_file():
            raise UserError(f"{self.path} is not a model folder (no {ABOUT}); make one with fantasyportrait convert")
        about = read_json(file)
        if about.get("format") != FORMAT:
            raise UserError(f"{file} is of format {about.get('format')}; this version reads {FORMAT}")
        if missing := {"adapter", "expression", "base"} - set(about):
            raise UserError(f"{file} says nothing of {', '.join(sorted(missing))}; convert the model again")
        return about

    @property
    def base(self) -> Base:
        """The Wan2.1 download; a relative path is relative to the folder."""
        return Base(self.path / self.about["base"])

    @property
    def name(self) -> str:
        """Which checkpoint this is, for metadata: its source's name and the beginning of its hash."""
        return f"{self.about['adapter']['from']} sha256:{self.about['adapter']['sha256'][:16]}"

    @cached_property
    def adapter(self) -> AdapterConfig:
        """The adapter's size."""
        return AdapterConfig(**self.about["adapter"]["config"])

    def adapter_tensors(self) -> Tensors:
        """In our layout."""
        return open_as("adapter", open_tensors(self.path / ADAPTER_FILE))

    def expression_tensors(self) -> Tensors:
        """As published."""
        return open_as("expression encoder", open_tensors(self.path / EXPRESSION_FILE))

    def write_about(self, about: dict[str, Any]) -> None:
        """Write `fantasyportrait.json`, last of all files, so that a folder with it is whole."""
        write_json(self.path / ABOUT, {"format": FORMAT, **about})
