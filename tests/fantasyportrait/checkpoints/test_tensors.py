"""Tensors in files: pickles, safetensors and shards."""

import pytest
import torch
from safetensors import safe_open

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.export import save_pickle, save_shards
from fantasyportrait.checkpoints.tensors import Tensors, open_tensors, save_tensors
from tests.writing import assert_atomic


@pytest.mark.parametrize("suffix", [".ckpt", ".pth", ".pt", ".bin"])
def test_groups_of_a_pickle_are_joined_by_dots_and_whatever_is_no_tensor_is_left_out(tmp_path, suffix):
    value = {"a": {"b": {"c": torch.ones(2)}, 1: torch.zeros(1)}, "step": 7, "d": torch.ones(1, requires_grad=True)}
    torch.save(value, tmp_path / f"x{suffix}")
    found = open_tensors(tmp_path / f"x{suffix}")
    assert {name: found.shape(name) for name in found} == {"a.b.c": (2,), "a.1": (1,), "d": (1,)}
    assert not found["d"].requires_grad


@pytest.mark.parametrize("legacy", [False, True])
def test_pickles_of_either_format_are_read(tmp_path, legacy):
    torch.save({"a": torch.arange(3)}, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    assert open_tensors(tmp_path / "a.pth")["a"].tolist() == [0, 1, 2]


def test_a_file_without_tensors_and_an_empty_one_are_named(tmp_path):
    torch.save({"step": 7}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth contains no tensors; expected a checkpoint"):
        open_tensors(tmp_path / "a.pth")
    (tmp_path / "b.safetensors").touch()
    with pytest.raises(UserError, match=r"b\.safetensors is empty; download it again"):
        open_tensors(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    "name",
    ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
    + ("int64", "int32", "int8", "uint8", "bool"),
)
def test_every_type_is_read_from_the_header(tmp_path, name):
    dtype = getattr(torch, name)
    save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(2, 3, dtype=dtype)})
    found = open_tensors(tmp_path / "a.safetensors")
    assert (found.dtype("a"), found.shape("a"), found["a"].dtype) == (dtype, (2, 3), dtype)


def test_tensors_are_saved_whole_whatever_their_strides(tmp_path, monkeypatch):
    path, given = tmp_path / "a.safetensors", torch.arange(6.0).view(2, 3).T
    save_tensors(path, {"a": given}, {"by": "me"})
    assert torch.equal(open_tensors(path)["a"], given)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt", "by": "me"}
    assert_atomic(lambda: save_tensors(path, {"b": given}), path, monkeypatch)


def test_pickles_are_saved_whole_or_not_at_all(tmp_path, monkeypatch):
    save_pickle(tmp_path / "a.pth", {"a": torch.zeros(1)})
    assert_atomic(lambda: save_pickle(tmp_path / "a.pth", {}), tmp_path / "a.pth", monkeypatch)


def test_errors_name_the_file_or_the_folder_of_its_shards(tmp_path):
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for path in paths:
        save_tensors(path, {path.stem: torch.zeros(1)})
    assert open_tensors(paths[0]).source == str(paths[0])
    assert open_tensors(*paths).source == str(tmp_path)
    assert set(open_tensors(*paths)) == {"a", "b"}


@pytest.mark.parametrize(
    ("dtype", "max_bytes", "counts"),
    [
        (torch.float32, 200, [5]),  # exactly as large as allowed
        (torch.float32, 199, [4, 1]),
        (torch.float32, 80, [2, 2, 1]),
        (torch.float32, 79, [1, 1, 1, 1, 1]),
        (torch.bfloat16, 80, [4, 1]),
        (torch.float32, 10, [1, 1, 1, 1, 1]),  # one tensor is never cut
    ],
)
def test_shards_hold_as_much_as_allowed(tmp_path, dtype, max_bytes, counts):
    tensors = Tensors({f"t{i}": torch.zeros(5, 2, dtype=dtype) for i in range(5)}, "")
    save_shards(tmp_path, "m", tensors, max_bytes=max_bytes)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert [len(open_tensors(file)) for file in files] == counts
    if len(counts) == 1:
        assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]
    else:
        names = [f"m-{i:05d}-of-{len(counts):05d}.safetensors" for i in range(1, len(counts) + 1)]
        assert [file.name for file in files] == names
        assert f'"total_size": {50 * dtype.itemsize}' in (tmp_path / "m.safetensors.index.json").read_text()
