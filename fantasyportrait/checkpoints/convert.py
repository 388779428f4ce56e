"""`fantasyportrait convert`: conversion of published weights to a model folder, and back."""

from pathlib import Path

import torch

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.export import LAYOUTS, save_adapter, save_base
from fantasyportrait.checkpoints.model_folder import ModelFolder, WanCheckpoint
from fantasyportrait.checkpoints.model_writer import write_published_model
from fantasyportrait.checkpoints.new_adapter import write_untrained_model
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
    untrained: bool = False,
    seed: int = 0,
    augment: str = "selective",
    dtype: str = "fp32",
) -> list[str]:
    """Convert weights from one layout to another; return a line for each file or folder written.

    Five uses:
        adapter, base (and expression, unless the adapter's file contains it): write a model folder for the sampler.
            The base, 30 GB and more, is not copied: the folder stores its path.
        base, expression, untrained=True: write a model folder with a new adapter, from which training starts.
        model, to="released" or "flat": write a model folder's adapter as published.
        base, to="diffusers" or "published": write a Wan2.1 download in the other layout.
        random="tiny", "1.3b" or "14b": write a model of random weights, for trials and tests.

    Args:
        out: the folder to write to.
        adapter: `fantasyportrait_model.ckpt`, or the flat safetensors variant.
        expression: `pd_fpg.pth`.
        base: a Wan2.1-I2V download.
        model: a model folder.
        to: the layout to write.
        random: the size of a model of random weights.
        untrained: whether to write a new adapter.
        seed: random seed of the weights.
        augment: features with learnable tokens in a random or untrained model, a row of the paper's Table 3:
            `selective` (mouth and emotion), `none` or `all`.
        dtype: data type of the adapter in a model folder: `fp32`, `bf16` or `fp16`.

    Raises:
        UserError: a file is missing, broken, or of another model; missing and unexpected tensors are named.
    """
    out = Path(out)
    if random is not None:
        return write_random_model(out, random, seed, augment)
    if model is not None and to in ("released", "flat"):
        folder = ModelFolder(Path(model))
        paths = save_adapter(out, folder.adapter_tensors(), folder.expression_tensors(), to)
        return [f"wrote {path}" for path in paths]
    if base is not None and to in LAYOUTS:
        skipped = save_base(WanCheckpoint(Path(base)), out, to)
        return [f"wrote {out} in {to} layout", *(f"skipped: {base} has no {component}" for component in skipped)]
    if untrained and base and expression and adapter is None and to is None:
        return write_untrained_model(
            out, Path(expression), WanCheckpoint(Path(base)), augment=augment, seed=seed, dtype=DTYPES[dtype]
        )
    if adapter is None or base is None or to is not None or untrained:
        raise UserError(
            "these flags do not go together; give --adapter and --base for a model folder, --base, --expression and "
            "--untrained for one to train, --model with --to released or flat, --base with --to diffusers or "
            "published, or --random SIZE"
        )
    return write_published_model(
        out, Path(adapter), Path(expression) if expression else None, WanCheckpoint(Path(base)), DTYPES[dtype]
    )
