"""Writing a model folder: adapter, expression encoder, empty prompt embedding, and a reference to the base."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exprbench.core.errors import UserError
from exprbench.core.files import sha256_path
from exprbench.core.progress import say
from fantasyportrait.checkpoints.formats import adapter_config, open_as, require_all
from fantasyportrait.checkpoints.loading import load_text_encoder, shapes_of
from fantasyportrait.checkpoints.model_folder import ADAPTER_FILE, EXPRESSION_FILE, PROMPT_FILE, Base, ModelFolder
from fantasyportrait.checkpoints.tensors import Tensors, open_tensors, save_tensors
from fantasyportrait.expression.encoder import ExpressionEncoder
from fantasyportrait.model.adapter import MotionAdapter


def write_published_model(
    out: Path, adapter: Path, expression: Path | None, base: Base, dtype: torch.dtype
) -> list[str]:
    """Write a model folder from published files; nothing is written before all of them have been held to account."""
    given = open_tensors(adapter)
    tensors, faces = open_as("adapter", given), _expression_tensors(given, expression)
    config = adapter_config(tensors.shapes)
    with torch.device("meta"):
        wanted = shapes_of(MotionAdapter(config))
    require_all(wanted, tensors, "adapter")
    told = write_folder(out, {n: t.to(dtype) for n, t in tensors.items()}, dict(faces), base, config=vars(config),
                        origin=adapter.name)  # fmt: skip
    return [*told, f"wrote {out}: {len(tensors)} + {len(faces)} tensors, none missing, none left over"]


def _expression_tensors(given: Tensors, path: Path | None) -> Tensors:
    if path is None and not any(name.startswith("pd_fpg.") for name in given):
        raise UserError(f"{given.where} holds no expression encoder; give --expression pd_fpg.pth")
    tensors = open_as("expression encoder", open_tensors(path) if path else given.under("pd_fpg."))
    with torch.device("meta"):
        wanted = shapes_of(ExpressionEncoder())
    require_all(wanted, tensors, "expression encoder", strict=False)
    if extra := [n for n in tensors if n not in wanted]:
        say(f"{tensors.where}: left out {len(extra)} tensors the encoder has no use for ({extra[0]} ...)")
    return tensors.renamed({n: n for n in wanted if n in tensors})


def write_folder(
    out: Path,
    adapter: Mapping[str, Tensor],
    expression: Mapping[str, Tensor],
    base: Base,
    *,
    config: dict[str, Any],
    origin: str,
) -> list[str]:
    """Write a model folder's files; the base is referred to, relative where it lies beside or inside."""
    backbone = base.backbone
    if (backbone.dim, backbone.num_layers) != (config["dim"], config["num_layers"]):
        raise UserError(
            f"the adapter is for a backbone of width {config['dim']} and {config['num_layers']} layers; "
            f"{base.path} has width {backbone.dim} and {backbone.num_layers} layers"
        )
    save_tensors(out / ADAPTER_FILE, adapter)
    save_tensors(out / EXPRESSION_FILE, expression)
    told = _embed_empty_prompt(out, base)
    about = {
        "adapter": {"from": origin, "sha256": sha256_path(out / ADAPTER_FILE), "config": config},
        "expression": {"sha256": sha256_path(out / EXPRESSION_FILE)},
        "base": os.path.relpath(base.path.resolve(), out.resolve()),
    }
    ModelFolder(out).write_about(about)
    return told


def _embed_empty_prompt(out: Path, base: Base) -> list[str]:
    """The text encoder weighs 11 GB and the paper's prompt is empty: embedded here once, it is not needed again."""
    from fantasyportrait.model.text_image_encoders import embed_prompt, token_ids

    try:
        base.files("text encoder")
    except UserError as error:
        return [f"no embedding of the empty prompt: {error}"]
    embedding = embed_prompt(load_text_encoder(base), token_ids("", None))
    save_tensors(out / PROMPT_FILE, {"empty": embedding})
    return []
