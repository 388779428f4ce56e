import pytest
import torch
import torch._dynamo

from exprbench.core.errors import UserError
from fantasyportrait.backbone import (
    check_attention,
    choose_attention,
    compile_blocks,
    find_device,
    load_backbone,
    memory_gib,
    room_gib,
)
from fantasyportrait.checkpoints.model_folder import Base
from fantasyportrait.checkpoints.random_init import write_random_model
from fantasyportrait.runtime.memory import MemoryPlan
from fantasyportrait.settings import RuntimeConfig
from tests.fantasyportrait.model.test_transformer import tiny_inputs, tiny_motion

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_random_model(folder, "tiny")
    return Base(folder / "base")


def engine(base, weights="fp32", offload="none", **runtime):
    plan = MemoryPlan(weights=weights, offload=offload, tile=None, keys="device", estimate_gib=0)
    return load_backbone(base, plan, RuntimeConfig(**runtime), CPU, ())


@torch.no_grad()
def run(model, dtype=torch.float32):
    inputs = [t.to(dtype) if t.dim() > 1 else t for t in tiny_inputs(model)]
    return [model(*inputs, motion).float() for motion in (None, tiny_motion(model), None)][1:]


def error(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("offload", ["block", "leaf"])
def test_weights_brought_when_needed_change_nothing(base, offload):
    for found, expected in zip(run(engine(base, offload=offload)), run(engine(base)), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(("weights", "most"), [("bf16", 0.02), ("int8", 0.02), ("fp8", 0.05)])
def test_smaller_weights_cost_little(base, weights, most):
    expected = run(engine(base))[0]
    assert error(run(engine(base, weights), torch.bfloat16)[0], expected) < most


def test_8_bit_weights_can_be_brought_too(base):
    found = run(engine(base, "int8", "block"), torch.bfloat16)
    expected = run(engine(base, "int8"), torch.bfloat16)
    for a, b in zip(found, expected, strict=True):
        assert error(a, b) < 1e-3


def test_norms_and_modulation_stay_in_single_precision(base):
    model = engine(base, "bf16")
    assert model.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert model.blocks[0].norm2.weight.dtype == torch.float32
    assert model.blocks[0].scale_shift_table.dtype == torch.float32
    assert model.condition_embedder.time_embedder.linear_1.weight.dtype == torch.float32


@pytest.fixture
def native_again(base):
    yield
    engine(base).set_attention_backend("native")  # diffusers keeps the choice for the models that come after


@pytest.mark.usefixtures("native_again")
def test_attention_kernels_are_chosen_by_name(base):
    model = engine(base)
    expected = run(model)[0]
    assert choose_attention(model, "auto", CPU, 45) == "native"
    assert choose_attention(model, "_native_math", CPU, 45) == "_native_math"
    assert model.blocks[0].attn1.processor._attention_backend == "_native_math"
    assert model.blocks[1].attn2.processor._attention_backend == "_native_math"
    torch.testing.assert_close(run(model)[0], expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match="--attention nonsense cannot be used here"):
        choose_attention(model, "nonsense", CPU, 45)


def test_a_kernel_diffusers_has_no_name_for_is_told_early():
    check_attention("auto")
    check_attention("_native_math")
    with pytest.raises(UserError, match="unknown attention kernel 'nativ'; did you mean 'native'"):
        check_attention("nativ")


def broken_compiler(*_):
    raise RuntimeError("no C compiler here")


@torch._dynamo.config.patch(suppress_errors=False)  # puts back what compile_blocks sets
def test_where_blocks_cannot_be_compiled_they_run_as_they_are(base):
    expected = run(engine(base))[0]
    model = engine(base)
    compile_blocks(model, insist=False, backend=broken_compiler)
    assert torch.equal(run(model)[0], expected)
    torch._dynamo.reset()
    model = engine(base)
    compile_blocks(model, insist=True, backend=broken_compiler)
    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed, match="no C compiler here"):
        run(model)
    torch._dynamo.reset()


def test_devices():
    assert find_device("cpu") == CPU
    if not torch.cuda.is_available():
        assert find_device("auto") == CPU
        with pytest.raises(UserError, match="finds no GPU"):
            find_device("cuda")
    with pytest.raises(UserError, match="expected cpu"):
        find_device("gpu")


def test_a_cpu_has_main_memory_alone():
    vram, ram = memory_gib(CPU, 0)
    assert vram == float("inf")
    assert ram > 0.1
    assert room_gib(CPU, 4) == float("inf")
