"""LAION aesthetic predictor (v2) on CLIP ViT-L/14: finds and loads its model files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from exprbench import weights
from exprbench.core.errors import UserError
from exprbench.core.normalization import CLIP_MEAN, CLIP_STD

SIDE = 224
DIMENSIONS = 768


def load_head(path: Path) -> tuple[np.ndarray, float]:
    """Return the predictor as one affine map, weight (768,) and bias: its five layers have no activations.

    Raises:
        UserError: the file has other layers.
    """
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    layers = sorted({int(name.split(".")[1]) for name in state if name.startswith("layers.")})
    matrix, bias = np.eye(DIMENSIONS), np.zeros(DIMENSIONS)
    for layer in layers:
        weight = state[f"layers.{layer}.weight"].double().numpy()
        matrix, bias = weight @ matrix, weight @ bias + state[f"layers.{layer}.bias"].double().numpy()
    if matrix.shape != (1, DIMENSIONS):
        raise UserError(
            f"{path} is not the LAION predictor for CLIP ViT-L/14: its map is {matrix.shape}, expected "
            f"(1, {DIMENSIONS}); fetch it with: exprbench weights fetch laion_aesthetic"
        )
    return matrix[0], float(bias[0])


def find_clip_model(name: str) -> Path:
    """Return the folder of CLIP: a path, a folder in $EXPRBENCH_WEIGHTS, or one in the Hugging Face cache.

    Nothing is downloaded.

    Raises:
        UserError: there is no such folder.
    """
    candidates = [Path(name), *(folder / name for folder in weights.folders()), *_hub_snapshots(name)]
    path = next((path for path in candidates if (path / "config.json").is_file()), None)
    if path is None:
        raise UserError(
            f"there is no CLIP model {name!r}; put the files of huggingface.co/openai/clip-vit-large-patch14 into "
            f"{weights.folders()[0] / name}, or set score.aesthetics.method=photomotion"
        )
    return path


def _hub_snapshots(name: str) -> list[Path]:
    import os

    home = Path(os.environ.get("HF_HOME") or Path(os.path.expanduser("~")) / ".cache" / "huggingface")
    return sorted((home / "hub" / f"models--openai--{Path(name).name}" / "snapshots").glob("*"))


def is_clip_available(name: str) -> bool:
    """Return whether CLIP and the LAION head are on this machine."""
    try:
        find_clip_model(name)
    except UserError:
        return False
    return weights.locate("laion_aesthetic") is not None


def load_clip(name: str, device: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that maps (n, 224, 224, 3) uint8 RGB crops to LAION scores (n,).

    Raises:
        UserError: the model is missing or is not ViT-L/14.
    """
    weight, bias = load_head(weights.require("laion_aesthetic"))
    embed = load_embedder(name, device)
    return lambda crops: embed(crops) @ weight + bias


def load_embedder(name: str, device: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that maps (n, 224, 224, 3) uint8 RGB crops to embeddings (n, 768) of length 1.

    Raises:
        UserError: the model is missing or is not ViT-L/14.
    """
    import torch
    from transformers import CLIPVisionModelWithProjection

    path = find_clip_model(name)
    model = CLIPVisionModelWithProjection.from_pretrained(path, local_files_only=True).to(device).eval()
    if model.config.projection_dim != DIMENSIONS or model.config.image_size != SIDE:
        size = f"{model.config.projection_dim} dimensions at {model.config.image_size} pixels"
        raise UserError(f"{path} has {size}; the LAION head needs CLIP ViT-L/14: {DIMENSIONS} at {SIDE}")
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))

    @torch.inference_mode()
    def embed(crops: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.ascontiguousarray(crops)).to(device).permute(0, 3, 1, 2).float() / 255
        embedded = model(pixel_values=((pixels - mean) / std).to(model.dtype)).image_embeds.double().cpu().numpy()
        return embedded / np.linalg.norm(embedded, axis=1, keepdims=True)

    return embed
