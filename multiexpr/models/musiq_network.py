"""MUSIQ (Ke et al., 2021), trained on KonIQ-10k, from the package `pyiqa`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from exprbench import weights
from exprbench.core.errors import UserError

FILE = "musiq_koniq_ckpt-e95806b9.pth"


def find_musiq_weights() -> Path:
    """Return the file of the weights in $EXPRBENCH_WEIGHTS; nothing is downloaded.

    Raises:
        UserError: there is no such file.
    """
    path = next((folder / FILE for folder in weights.folders() if (folder / FILE).is_file()), None)
    if path is None:
        raise UserError(
            f"there is no {FILE}; put the file of huggingface.co/chaofengc/IQA-PyTorch-Weights into "
            f"{weights.folders()[0]}, or set score.aesthetics.method=photomotion"
        )
    return path


def load_musiq(device: str) -> Callable[[list[np.ndarray]], np.ndarray]:
    """Return a function that maps n (H, W, 3) uint8 RGB frames to MUSIQ scores (n,), about 0 to 100.

    Code in the file is not run: pyiqa would load it without this restriction, so that it only builds the network.

    Raises:
        UserError: pyiqa or the weights are missing, or the weights are those of another network.
    """
    import torch

    try:
        from pyiqa import create_metric
    except ImportError as error:
        raise UserError(
            f"MUSIQ needs pyiqa and its packages ({error}); install them with pip install 'exprbench[iqa]', "
            "or set score.aesthetics.method=photomotion"
        ) from error
    path = find_musiq_weights()
    metric = create_metric("musiq", pretrained=False, device=torch.device(device))
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = {name.removeprefix("module."): value for name, value in state.get("params", state).items()}
    try:
        metric.net.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} is not MUSIQ for KonIQ-10k: {str(error).splitlines()[1].strip()[:200]}") from error

    @torch.inference_mode()
    def score(frames: list[np.ndarray]) -> np.ndarray:
        pixels = [torch.from_numpy(np.ascontiguousarray(f)).permute(2, 0, 1)[None].float() / 255 for f in frames]
        return np.array([float(metric(one.to(device))) for one in pixels])

    return score
