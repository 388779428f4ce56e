"""Classifier of unsafe pictures: any image classifier of transformers with a class `nsfw` or `porn`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from exprbench import weights
from exprbench.core.errors import UserError

UNSAFE = ("nsfw", "porn", "hentai", "sexy", "explicit", "unsafe")


def find_nsfw_model(name: str) -> Path:
    """Return the folder of a classifier: a path, or a folder in $EXPRBENCH_WEIGHTS. Nothing is downloaded.

    Raises:
        UserError: there is no such folder.
    """
    candidates = [Path(name), *(folder / name for folder in weights.folders())]
    path = next((path for path in candidates if (path / "config.json").is_file()), None)
    if path is None:
        raise UserError(
            f"there is no NSFW classifier {name!r}; put huggingface.co/Falconsai/nsfw_image_detection into "
            f"{weights.folders()[0] / name}, or remove nsfw from score.optional"
        )
    return path


def load_nsfw(name: str, device: str) -> Callable[[list[np.ndarray]], np.ndarray]:
    """Return a function that maps n (H, W, 3) uint8 RGB frames to the probabilities that they are unsafe, (n,).

    Raises:
        UserError: the model is missing or has no class of unsafe pictures.
    """
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    path = find_nsfw_model(name)
    model = AutoModelForImageClassification.from_pretrained(path, local_files_only=True).to(device).eval()
    processor = AutoImageProcessor.from_pretrained(path, local_files_only=True)
    unsafe = [number for number, label in model.config.id2label.items() if label.lower() in UNSAFE]
    if not unsafe:
        raise UserError(f"{path} has the classes {sorted(model.config.id2label.values())}; expected one of {UNSAFE}")

    @torch.inference_mode()
    def score(frames: list[np.ndarray]) -> np.ndarray:
        pixels = processor(images=frames, return_tensors="pt")["pixel_values"].to(device, model.dtype)
        return model(pixel_values=pixels).logits.float().softmax(-1)[:, unsafe].sum(-1).cpu().numpy()

    return score
