"""`fantasyportrait convert`: published weights to a model folder, and back."""

from pathlib import Path

import torch

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.export import LAYOUTS, save_adapter, save_base
from fantasyportrait.checkpoints.model_folder import (
    Base,
    ModelFolder,
)
from fantasyportrait.checkpoints.model_writer import write_published_model
from fantasyportrait.checkpoints.random_init import write_random_model

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def convert(
    *,
    out: Path | str,
    adapter: Path | str | None = None,
    expression: Path | str | None = None,
    base: Path | str | None = None,
    model: Path | str | None = None,
    to: str | None = None,
    random: str | None = None,
    seed: int = 0,
    augment: str = "selective",
    dtype: str = "fp32",
) -> list[str]:
    """Bring weights from one layout to another; return a line for each thing written.

    Four uses:
        adapter, base (and expression, unless the adapter's file holds it): write a model folder that the sampler
            takes. The base, 30 GB and more, is not copied: the folder remembers where it lies.
        model, to="released" or "flat": write a model folder's adapter as published.
        base, to="diffusers" or "published": write a Wan2.1 download in the other layout.
        random="tiny", "1.3b" or "14b": write a model of random weights, for trying things out.

    Args:
        out: the folder to write into.
        adapter: `fantasyportrait_model.ckpt`, or the flat safetensors variant.
        expression: `pd_fpg.pth`.
        base: a Wan2.1-I2V download.
        model: a model folder.
        to: the layout to write.
        random: a size.
        seed: of random weights.
        augment: which features get learnable tokens in a random model, a row of the paper's Table 3: `selective`
            (mouth and emotion), `none` or `all`.
        dtype: `fp32`, `bf16` or `fp16`, of the adapter in a model folder.

    Raises:
        UserError: files are missing, broken, or of another model; every tensor too many or too few is named.
    """
    out = Path(out)
    if random is not None:
        return write_random_model(out, random, seed, augment)
    if model is not None and to in ("released", "flat"):
        folder = ModelFolder(Path(model))
        paths = save_adapter(out, folder.adapter_tensors(), folder.expression_tensors(), to)
        return [f"wrote {path}" for path in paths]
    if base is not None and to in LAYOUTS:
        left_out = save_base(Base(Path(base)), out, to)
        return [f"wrote {out} in {to} layout", *(f"left out: {base} holds no {part}" for part in left_out)]
    if adapter is None or base is None or to is not None:
        raise UserError(
            "give --adapter and --base for a model folder, --model with --to released or flat, "
            "--base with --to diffusers or published, or --random SIZE"
        )
    return write_published_model(
        out, Path(adapter), Path(expression) if expression else None, Base(Path(base)), DTYPES[dtype]
    )
