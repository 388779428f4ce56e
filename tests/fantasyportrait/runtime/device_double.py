"""Double of an accelerator for offloading: its memory is CPU memory, but every transfer to it copies."""

from unittest.mock import MagicMock

import diffusers.hooks.group_offloading
import torch

from fantasyportrait.runtime import offloading


class DeviceDouble:
    """Device to which `Tensor.to` copies; `host` holds the address ranges of pinned memory."""

    type = "double"
    index = 0

    def __init__(self, monkeypatch):
        self.host, self.transfers = [], 0
        to, pack = torch.Tensor.to, offloading.pack

        def copy_or_convert(tensor, *args, **options):
            if args and args[0] is self:
                self.transfers += 1
                return tensor.clone()
            return to(tensor, *args, **options)

        def pack_and_record(tensors, *, pinned):
            tensors = list(tensors)
            pack(tensors, pinned=False)
            storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
            self.host = [(start, start + size) for start, size in storages.items()]

        monkeypatch.setattr(torch.Tensor, "to", copy_or_convert)
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
        monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: True)
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
        monkeypatch.setattr(offloading, "pack", pack_and_record)
        monkeypatch.setattr(diffusers.hooks.group_offloading, "TorchDeviceBackend", MagicMock())

    def is_on_host(self, tensor):
        """Return whether a tensor is in pinned memory, not in the double's."""
        return any(start <= tensor.data_ptr() < stop for start, stop in self.host)
