"""The LAION aesthetic predictor (v2) on CLIP ViT-L/14, on squares that together cover the frame.

CLIP sees a square. Its usual centre crop discards 44 % of the width of a 16:9 frame, often a person; here as many
squares as the frame is long cover it, evenly, and the score is their mean.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from exprbench import weights
from exprbench.core.errors import UserError
from exprbench.core.files import sha256_path
from multiexpr.models.detector import Models
from multiexpr.recipe import ScoreAesthetics
from multiexpr.scorers.base import Frames, Row, rounded, spread

VERSION = "laion-1"
SIDE = 224
DIMENSIONS = 768
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training images
STD = (0.26862954, 0.26130258, 0.27577711)


class Laion:
    """Mean over frames and squares, and the lowest frame."""

    name = "laion"
    costly = False
    columns = [("laion", pa.float64()), ("laion_min", pa.float64())]  # noqa: RUF012

    def __init__(self, params: ScoreAesthetics, models: Models) -> None:
        self.params = params
        self.models = models

    def fingerprint(self) -> Row:  # noqa: D102
        head = sha256_path(weights.require("laion_aesthetic"))
        clip = sha256_path(find_clip_model(self.params.clip) / "config.json")
        return {"version": VERSION, "num_frames": self.params.num_frames, "head": head, "clip": clip}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        return Frames(times_s=spread(facts["length_s"], self.params.num_frames), short_side=SIDE)

    def look(self, facts: Row) -> "_Look":  # noqa: D102
        return _Look(self.models)


class _Look:
    def __init__(self, models: Models) -> None:
        self.models = models
        self.crops: list[np.ndarray] = []

    def see(self, frame: np.ndarray, time_s: float) -> None:
        self.crops.append(squares(frame))

    def result(self) -> Row:
        scores = self.models.aesthetics(np.concatenate(self.crops))
        ends = np.cumsum([len(crops) for crops in self.crops])[:-1]
        frames = [part.mean() for part in np.split(scores, ends)]
        return {"laion": rounded(np.mean(frames)), "laion_min": rounded(min(frames))}


def squares(frame: np.ndarray) -> np.ndarray:
    """(n, 224, 224, 3) squares of the frame's short side, evenly over its long side, that leave nothing out."""
    height, width = frame.shape[:2]
    short, long = min(height, width), max(height, width)
    count = -(-long // short)
    starts = [round(i * (long - short) / max(1, count - 1)) for i in range(count)]
    cut = (frame[:, s : s + short] if width > height else frame[s : s + short] for s in starts)
    shrink = cv2.INTER_AREA if short > SIDE else cv2.INTER_CUBIC
    return np.stack([cv2.resize(crop, (SIDE, SIDE), interpolation=shrink) for crop in cut])


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
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (MEAN, STD))

    @torch.inference_mode()
    def score(crops: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.ascontiguousarray(crops)).to(device).permute(0, 3, 1, 2).float() / 255
        embedded = model(pixel_values=((pixels - mean) / std).to(model.dtype)).image_embeds.double().cpu().numpy()
        return embedded / np.linalg.norm(embedded, axis=1, keepdims=True) @ weight + bias

    return score
