import pickle

import pytest
import torch

from exprbench.core.exact import exact
from exprbench.metrics.networks import fill, load_state
from exprbench.weights import WeightsError
from tests.metrics.files import saved


@pytest.fixture
def network():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


def test_a_state_dict_fills_its_network(network, tmp_path):
    path = saved(tmp_path / "good.pth", network.state_dict())
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    filled = fill(other, load_state(path), path)
    assert not filled.training
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), filled.state_dict().values(), strict=True)
    )


def test_what_differs_is_named(network, tmp_path):
    state = network.state_dict()
    state["0.weight"] = torch.zeros(4, 5)
    state["more"] = state.pop("0.bias")
    with pytest.raises(WeightsError) as caught:
        fill(network, state, tmp_path / "x.pth")
    assert caught.value.code == "weights_differ"
    assert all(
        word in caught.value.detail
        for word in ("1 missing (0.bias)", "1 unexpected (more)", "0.weight [4, 5] for [4, 3]")
    )


def test_long_lists_are_cut(network, tmp_path):
    with pytest.raises(WeightsError, match=r"7 missing \(0\.weight, 0\.bias, 1\.weight, \.\.\.\)"):
        fill(network, {}, tmp_path / "x.pth")


class Bomb:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_nothing_but_tensors_is_unpickled(tmp_path, capsys):
    for name, content in (("bomb", {"a": Bomb()}), ("list", [1, 2]), ("nested", {"state": {"a": torch.zeros(1)}})):
        path = saved(tmp_path / f"{name}.pkl", content)
        with pytest.raises(WeightsError, match=f"{name}.pkl"):
            load_state(path)
    (tmp_path / "raw.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError):
        load_state(tmp_path / "raw.pkl")
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut off"])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "damaged.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"damaged\.pth is not a file of weights"):
        load_state(path)


def test_exact_arithmetic_keeps_no_gradients_and_no_tf32():
    with exact():
        assert torch.is_inference_mode_enabled()
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.deterministic
    assert not torch.is_inference_mode_enabled()
