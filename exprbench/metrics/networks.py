"""Load published networks: state dicts are checked by name and shape."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from exprbench.core.state_dicts import compare_shapes
from exprbench.weights import WeightsError

if TYPE_CHECKING:
    import torch


def load_state(path: Path, key: str = "") -> dict[str, Any]:
    """Return the tensors of a state-dict file; other objects are not unpickled.

    Args:
        path: the file.
        key: entry of the file that holds the tensors; if it has none, they are at its top level.

    Raises:
        WeightsError: `weights_differ`, if the file contains something else.
    """
    import pickle

    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError("weights_differ", f"{path} is not a file of weights: {first_line}") from error
    state = state.get(key, state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError("weights_differ", f"{path} holds something other than a flat dict of tensors")
    return state


def fill(network: "torch.nn.Module", state: dict[str, Any], path: Path) -> "torch.nn.Module":
    """Load a state dict into a network and return it in evaluation mode; names and shapes must match.

    Raises:
        WeightsError: `weights_differ`, with the missing, unexpected and misshapen entries.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    mismatch = compare_shapes(expected, {name: tuple(tensor.shape) for name, tensor in state.items()})
    if not mismatch.is_exact:
        raise WeightsError("weights_differ", f"{path} is of another network: {mismatch}")
    network.load_state_dict(state)
    return network.eval()


def as_tensor(frame: Any, device: str) -> "torch.Tensor":
    """Return an (H, W, 3) uint8 frame as a (1, 3, H, W) float32 tensor in [0, 255] on a device."""
    import numpy as np
    import torch

    image = torch.from_numpy(np.array(frame)).to(device)  # a copy, because PyTorch warns about read-only arrays
    return image.permute(2, 0, 1)[None].float()
