"""Model files of the published layouts, with weights drawn at random."""

from unittest import mock

import torch
from pytorch_fid import inception


def drawn(network, seed=0):
    """Weights that keep the size of what passes through, and statistics of batches that are not all alike."""
    generator = torch.Generator().manual_seed(seed)
    normalised = {name for name, m in network.named_modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)}
    for name, value in network.state_dict().items():
        module, _, kind = name.rpartition(".")
        if kind == "running_var" or (module in normalised and kind == "weight"):
            value.uniform_(0.8, 1.2, generator=generator)
        elif value.ndim > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif value.is_floating_point():
            value.normal_(0, 0.05, generator=generator)
    return network


def inception_state(seed=0):
    """As pytorch-fid publishes it."""
    kept = {}

    def remember(network, state):
        kept["network"] = network

    with (
        mock.patch.object(inception, "load_state_dict_from_url", return_value={}),
        mock.patch("torch.nn.Module.load_state_dict", remember),
    ):
        inception.fid_inception_v3()
    return drawn(kept["network"], seed).state_dict()


def saved(path, state):
    torch.save(state, path)
    return path
