"""Writing of a model folder: adapter, expression encoder, embedding of the empty prompt, and the path of the base."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exprbench.core.errors import UserError
from exprbench.core.files import sha256_path
from exprbench.core.progress import say
from fantasyportrait.checkpoints.formats import check_shapes, infer_adapter_config, open_as
from fantasyportrait.checkpoints.layout import ADAPTER_FILE, EXPRESSION_FILE, PROMPT_FILE
from fantasyportrait.checkpoints.loading import check_adapter_fits, get_shapes, load_text_encoder
from fantasyportrait.checkpoints.model_folder import ModelFolder, WanCheckpoint
from fantasyportrait.checkpoints.tensors import Tensors, open_tensors, save_tensors
from fantasyportrait.expression.encoder import ExpressionEncoder
from fantasyportrait.model.adapter import MotionAdapter


def write_published_model(
    out: Path, adapter: Path, expression: Path | None, base: WanCheckpoint, dtype: torch.dtype
) -> list[str]:
    """Write a model folder from published files, after all of them have been checked; return lines for the user."""
    file = open_tensors(adapter)
    tensors = open_as("adapter", file)
    if expression is None and not any(name.startswith("pd_fpg.") for name in file):
        raise UserError(f"{file.source} holds no expression encoder; give --expression pd_fpg.pth")
    expression_tensors = open_expression_encoder(open_tensors(expression) if expression else file)
    config = infer_adapter_config(tensors.shapes)
    with torch.device("meta"):
        expected = get_shapes(MotionAdapter(config))
    check_shapes(expected, tensors, "adapter")
    messages = write_model_folder(
        out,
        {name: tensor.to(dtype) for name, tensor in tensors.items()},
        dict(expression_tensors),
        base,
        config=vars(config),
        origin=adapter.name,
    )
    counts = f"{len(tensors)} + {len(expression_tensors)} tensors, none missing, none left over"
    return [*messages, f"wrote {out}: {counts}"]


def open_expression_encoder(file: Tensors) -> Tensors:
    """Check the expression encoder of `pd_fpg.pth`, or of an adapter's file that includes it."""
    is_included = any(name.startswith("pd_fpg.") for name in file)
    tensors = open_as("expression encoder", file.select_prefix("pd_fpg.") if is_included else file)
    with torch.device("meta"):
        expected = get_shapes(ExpressionEncoder())
    check_shapes(expected, tensors, "expression encoder", strict=False)
    if unused := [n for n in tensors if n not in expected]:
        say(f"{tensors.source}: skipped {len(unused)} tensors that the encoder does not use ({unused[0]} ...)")
    return tensors.rename({n: n for n in expected if n in tensors})


def write_model_folder(
    out: Path,
    adapter: Mapping[str, Tensor],
    expression: Mapping[str, Tensor],
    base: WanCheckpoint,
    *,
    config: dict[str, Any],
    origin: str,
) -> list[str]:
    """Write the files of a model folder; return lines for the user.

    Args:
        out: the folder.
        adapter: weights under internal names.
        expression: weights of the expression encoder.
        base: the Wan2.1 download, stored as a path relative to the folder.
        config: fields of the adapter's `AdapterConfig`.
        origin: name of the adapter's source, for metadata.

    Raises:
        UserError: the adapter and the base do not fit.
    """
    check_adapter_fits(config["dim"], config["num_layers"], base)
    save_tensors(out / ADAPTER_FILE, adapter)
    save_tensors(out / EXPRESSION_FILE, expression)
    messages = _write_empty_prompt(out, base)
    manifest = {
        "adapter": {"from": origin, "sha256": sha256_path(out / ADAPTER_FILE), "config": config},
        "expression": {"sha256": sha256_path(out / EXPRESSION_FILE)},
        "base": os.path.relpath(base.path.resolve(), out.resolve()),
    }
    ModelFolder(out).write_manifest(manifest)
    return messages


def _write_empty_prompt(out: Path, base: WanCheckpoint) -> list[str]:
    """Embed the empty prompt and save it, so that sampling with it does not need the text encoder (11 GB)."""
    from fantasyportrait.model.text_image_encoders import encode_prompt, tokenize_prompt

    if not base.has("text encoder"):
        return [f"no embedding of the empty prompt: {base.path} has no text encoder, which sampling will need"]
    embedding = encode_prompt(load_text_encoder(base), tokenize_prompt("", None))
    save_tensors(out / PROMPT_FILE, {"empty": embedding})
    return []
