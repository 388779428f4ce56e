import pytest
import torch
from torch import nn

from fantasyportrait.runtime.quantisation import QuantisedLinear, quantise_linears, quantise_rows


def weight(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_int8_rows_use_the_whole_range_and_err_by_half_a_step():
    given = weight(6, 40) * torch.tensor([1e-6, 1e-3, 1, 10, 1e4, 1])[:, None]
    quantised, scale = quantise_rows(given, torch.int8)
    assert quantised.dtype == torch.int8
    assert quantised.abs().amax(1).tolist() == [127] * 6
    assert bool(((quantised * scale - given).abs() <= 0.5001 * scale).all())


def test_fp8_rows_err_by_half_of_the_last_bit():
    given = weight(6, 40)
    quantised, scale = quantise_rows(given, torch.float8_e4m3fn)
    restored = quantised.float() * scale
    normal = given.abs() / scale > 2**-6  # below, the type is subnormal
    assert float(((restored - given).abs() / given.abs())[normal].max()) <= 2**-4


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_a_row_of_zeros_stays_zero(dtype):
    quantised, scale = quantise_rows(torch.zeros(2, 5), dtype)
    assert torch.equal(quantised.float() * scale, torch.zeros(2, 5))


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_the_layer_computes_in_the_type_of_its_input(dtype, compute):
    linear = nn.Linear(40, 6)
    layer = QuantisedLinear(linear, dtype)
    x = weight(3, 40).to(compute)
    layer.bias.data = layer.bias.data.to(compute)
    restored = layer.weight.float() * layer.scale
    expected = nn.functional.linear(x.float(), restored, layer.bias.float())
    assert layer(x).dtype == compute
    tolerance = 1e-5 if compute == torch.float32 else 3e-2  # bfloat16 keeps 8 bits of each product
    torch.testing.assert_close(layer(x).float(), expected, atol=tolerance, rtol=tolerance)


def test_every_tensor_of_a_quantised_module_is_plain():
    module = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4)))
    quantise_linears(module, "int8")
    assert [type(module[0]), type(module[1][0]), type(module[1][1])] == [QuantisedLinear, QuantisedLinear, nn.LayerNorm]
    assert {type(p) for p in module.parameters()} == {nn.Parameter}
    assert not list(module.buffers())
