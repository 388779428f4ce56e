"""The LAION aesthetic predictor (v2) on CLIP ViT-L/14: finding its files, and loading it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from exprbench import weights
from exprbench.core.errors import UserError
from exprbench.core.normalization import CLIP_MEAN, CLIP_STD

SIDE = 224
DIMENSIONS = 768


def load_head(path: Path) -> tuple[np.ndarray, float]:
    """The predictor as one affine map (768,), bias: its five layers have no activation between them.

    Raises:
        UserError: the file holds other layers.
    """
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    layers = sorted({int(name.split(".")[1]) for name in state if name.startswith("layers.")})
    matrix, bias = np.eye(DIMENSIONS), np.zeros(DIMENSIONS)
    for layer in layers:
        weight = state[f"layers.{layer}.weight"].double().numpy()
        matrix, bias = weight @ matrix, weight @ bias + state[f"layers.{layer}.bias"].double().numpy()
    if matrix.shape != (1, DIMENSIONS):
        raise UserError(f"{path} is not the LAION predictor for CLIP ViT-L/14: it maps to {matrix.shape}")
    return matrix[0], float(bias[0])


def find_clip_model(name: str) -> Path:
    """CLIP's folder: a path, a folder in $EXPRBENCH_WEIGHTS, or in the Hugging Face cache; nothing is fetched.

    Raises:
        UserError: it is nowhere.
    """
    places = [Path(name), *(folder / name for folder in weights.folders()), *_hub_snapshots(name)]
    found = next((place for place in places if (place / "config.json").is_file()), None)
    if found is None:
        raise UserError(
            f"there is no CLIP model {name!r}; put the files of huggingface.co/openai/clip-vit-large-patch14 into "
            f"{weights.folders()[0] / name}, or set score.aesthetics.method=photomotion"
        )
    return found


def _hub_snapshots(name: str) -> list[Path]:
    import os

    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return sorted((home / "hub" / f"models--openai--{Path(name).name}" / "snapshots").glob("*"))


def clip_is_here(name: str) -> bool:
    """Can LAION scores be computed: are CLIP and the head on this machine?"""
    try:
        find_clip_model(name)
    except UserError:
        return False
    return weights.locate("laion_aesthetic") is not None


def load_clip(name: str, device: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from (n, 224, 224, 3) uint8 RGB crops to LAION scores (n,).

    Raises:
        UserError: the model is missing or is not ViT-L/14.
    """
    import torch
    from transformers import CLIPVisionModelWithProjection

    path = find_clip_model(name)
    weight, bias = load_head(weights.require("laion_aesthetic"))
    model = CLIPVisionModelWithProjection.from_pretrained(path, local_files_only=True).to(device).eval()
    if model.config.projection_dim != DIMENSIONS or model.config.image_size != SIDE:
        told = f"{model.config.projection_dim} dimensions at {model.config.image_size} pixels"
        raise UserError(f"{path} has {told}; the LAION head needs ViT-L/14: {DIMENSIONS} at {SIDE}")
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))

    @torch.inference_mode()
    def score(crops: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.ascontiguousarray(crops)).to(device).permute(0, 3, 1, 2).float() / 255
        embedded = model(pixel_values=((pixels - mean) / std).to(model.dtype)).image_embeds.double().cpu().numpy()
        return embedded / np.linalg.norm(embedded, axis=1, keepdims=True) @ weight + bias

    return score
