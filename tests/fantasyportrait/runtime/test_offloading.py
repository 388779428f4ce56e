from itertools import pairwise

import pytest
import torch

from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.model.transformer import build_transformer
from fantasyportrait.runtime.offloading import offload, pack
from fantasyportrait.runtime.quantisation import QUANTISED_DTYPES, quantise_linears
from tests.fantasyportrait.model.test_transformer import tiny_inputs, tiny_motion
from tests.fantasyportrait.runtime.device_double import DeviceDouble


def test_packed_tensors_are_contiguous_and_unchanged():
    given = [torch.randn(3, 5), torch.arange(7), torch.randn(2, 2, 2).bfloat16(), torch.tensor(2.5), torch.empty(0, 4)]
    before, expected = [t.data_ptr() for t in given], [t.clone() for t in given]
    pack(given, pinned=False, chunk_bytes=4096)
    for tensor, same in zip(given, expected, strict=True):
        assert torch.equal(tensor, same)
        assert tensor.dtype == same.dtype
    moved = [t.data_ptr() for t in given[:-1]]
    assert [b - a for a, b in pairwise(moved)] == [256, 256, 256]
    assert not set(moved) & set(before)


def test_tensors_that_do_not_fit_start_another_chunk():
    given = [torch.zeros(300, dtype=torch.uint8) for _ in range(3)] + [torch.zeros(5000)]
    pack(given, pinned=False, chunk_bytes=1024)
    chunks = [t.untyped_storage().data_ptr() for t in given]
    assert len(set(chunks)) == 3
    assert chunks[0] == chunks[1]
    assert given[3].untyped_storage().nbytes() == 20000


def test_a_models_output_does_not_change():
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).eval()
    x = torch.randn(2, 4)
    before = model(x)
    pack([*model.parameters(), *model.buffers()], pinned=False, chunk_bytes=2048)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize(
    ("device", "mode", "packed"), [("cpu", "block", False), ("cuda:0", "block", True), ("cuda:0", "leaf", True)]
)
def test_weights_are_packed_where_a_gpu_can_fetch_them_while_it_computes(monkeypatch, device, mode, packed):
    packs, asked = [], []
    monkeypatch.setattr(
        "fantasyportrait.runtime.offloading.pack", lambda tensors, pinned: packs.append((len(tensors), pinned))
    )
    monkeypatch.setattr("diffusers.hooks.apply_group_offloading", lambda model, **options: asked.append(options))
    offload(torch.nn.BatchNorm1d(3), torch.device(device), mode)
    assert packs == ([(5, True)] if packed else [])
    (options,) = asked
    assert options["offload_type"] == f"{mode}_level"
    assert options["num_blocks_per_group"] == (1 if mode == "block" else None)
    assert options["use_stream"] == options["record_stream"] == (device != "cpu")
    assert (options["onload_device"], options["offload_device"]) == (torch.device(device), torch.device("cpu"))


def test_a_tensor_that_just_fills_a_chunk_begins_no_other():
    given = [torch.zeros(512, dtype=torch.uint8) for _ in range(3)]
    pack(given, pinned=False, chunk_bytes=1024)
    chunks = [t.untyped_storage().data_ptr() for t in given]
    assert chunks[0] == chunks[1] != chunks[2]


# With a double of a device: streams, pinned memory, and transfers that copy


def tiny(weights):
    torch.manual_seed(0)
    model = build_transformer(MODEL_CONFIGS["tiny"].backbone)
    if weights in QUANTISED_DTYPES:
        for block in model.blocks:
            quantise_linears(block, weights)
    return model


@pytest.mark.parametrize("mode", ["block", "leaf"])
@pytest.mark.parametrize("weights", ["fp32", "int8", "fp8"])
@torch.no_grad()
def test_weights_return_to_the_host_and_outputs_do_not_change(monkeypatch, weights, mode):
    inputs, motion = tiny_inputs(tiny("fp32")), tiny_motion(tiny("fp32"))
    expected = [tiny(weights)(*inputs, motion) for _ in range(2)]
    model = tiny(weights)
    before = {name: tensor.clone() for name, tensor in model.blocks.state_dict().items()}
    device = DeviceDouble(monkeypatch)
    offload(model, device, mode)
    places = []
    for block in model.blocks:
        block.attn2.register_forward_hook(lambda *_: places.append([_on_device(device, b) for b in model.blocks]))
    for output in expected:  # the first run traces the order of the modules, the second prefetches
        assert torch.equal(model(*inputs, motion), output)
        state = model.blocks.state_dict()
        assert [name for name, tensor in state.items() if not device.is_on_host(tensor)] == []
        assert [name for name, tensor in state.items() if not torch.equal(tensor, before[name])] == []
    assert device.transfers > 0
    if mode == "block":
        assert places[0] == [True, False]  # one block at a time, until the order is known


def _on_device(device, block):
    return not any(device.is_on_host(parameter) for parameter in block.parameters())


@pytest.mark.parametrize("weights", ["int8", "fp8"])
@torch.no_grad()
def test_the_host_copy_is_no_alias_of_the_device_copy(monkeypatch, weights):
    model = tiny(weights)
    device = DeviceDouble(monkeypatch)
    offload(model, device, "block")
    block = model.blocks[1]
    before = block.attn1.to_q.weight.float().clone()
    (group,) = _groups(block)
    group.onload_()
    assert _on_device(device, block)
    for tensor in block.state_dict().values():
        tensor.zero_()  # of the device's memory
    group.offload_()
    assert torch.equal(block.attn1.to_q.weight.float(), before)
    assert not _on_device(device, block)


def _groups(block):
    return {hook.group for hook in block._diffusers_hook.hooks.values() if hasattr(hook, "group")}
