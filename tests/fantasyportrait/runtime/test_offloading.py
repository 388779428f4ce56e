from itertools import pairwise

import pytest
import torch

from fantasyportrait.runtime.offloading import offload, pack


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
    ("device", "mode", "quantised", "packed"),
    [("cpu", "block", False, False), ("cuda:0", "block", False, True), ("cuda:0", "leaf", False, True),
     ("cuda:0", "block", True, False)],
)  # fmt: skip
def test_weights_are_packed_where_a_gpu_can_fetch_them_while_it_computes(monkeypatch, device, mode, quantised, packed):
    packs, asked = [], []
    monkeypatch.setattr(
        "fantasyportrait.runtime.offloading.pack", lambda tensors, pinned: packs.append((len(tensors), pinned))
    )
    monkeypatch.setattr("diffusers.hooks.apply_group_offloading", lambda model, **options: asked.append(options))
    offload(torch.nn.BatchNorm1d(3), torch.device(device), mode, quantised=quantised)
    assert packs == ([(5, True)] if packed else [])
    (options,) = asked
    assert options["offload_type"] == f"{mode}_level"
    assert options["num_blocks_per_group"] == (1 if mode == "block" else None)
    assert options["use_stream"] == options["record_stream"] == (device != "cpu")
    assert options["low_cpu_mem_usage"] == quantised
    assert (options["onload_device"], options["offload_device"]) == (torch.device(device), torch.device("cpu"))


def test_a_tensor_that_just_fills_a_chunk_begins_no_other():
    given = [torch.zeros(512, dtype=torch.uint8) for _ in range(3)]
    pack(given, pinned=False, chunk_bytes=1024)
    chunks = [t.untyped_storage().data_ptr() for t in given]
    assert chunks[0] == chunks[1] != chunks[2]
