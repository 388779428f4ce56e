from types import SimpleNamespace

import pytest
import torch
import torch._dynamo

from exprbench.core.errors import UserError
from fantasyportrait import backbone
from fantasyportrait.backbone import (
    available_vram_gib,
    check_attention,
    choose_attention,
    compile_blocks,
    load_backbone,
    make_quantiser,
    resolve_device,
    set_memory_limit,
)
from fantasyportrait.checkpoints.model_folder import WanCheckpoint
from fantasyportrait.checkpoints.random_init import write_random_model
from fantasyportrait.runtime.memory import GIB, MemoryPlan
from fantasyportrait.settings import RuntimeConfig
from tests.closeness import assert_close
from tests.fantasyportrait.model.test_transformer import tiny_inputs, tiny_motion

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_random_model(folder, "tiny")
    return WanCheckpoint(folder / "base")


def load(base, weights="fp32", offload="none", **runtime):
    plan = MemoryPlan(weights=weights, offload=offload, tile=None, keys="device", estimate_gib=0)
    return load_backbone(base, plan, RuntimeConfig(**runtime), CPU, ())


@torch.no_grad()
def run(model, dtype=torch.float32):
    inputs = [t.to(dtype) if t.dim() > 1 else t for t in tiny_inputs(model)]
    return [model(*inputs, motion).float() for motion in (None, tiny_motion(model), None)][1:]


def relative_error(actual, expected):
    return float((actual - expected).norm() / expected.norm())


@pytest.mark.parametrize("offload", ["block", "leaf"])
def test_offloading_changes_nothing(base, offload):
    for offloaded, resident in zip(run(load(base, offload=offload)), run(load(base)), strict=True):
        assert_close(offloaded, resident)  # weights at other addresses may be added up in another order


@pytest.mark.parametrize(("weights", "most"), [("bf16", 0.02), ("int8", 0.02), ("fp8", 0.05)])
def test_smaller_weights_change_little(base, weights, most):
    expected = run(load(base))[0]
    assert relative_error(run(load(base, weights), torch.bfloat16)[0], expected) < most


@pytest.mark.parametrize("offload", ["block", "leaf"])
@pytest.mark.parametrize("weights", ["bf16", "int8", "fp8"])
def test_weights_of_every_type_can_be_offloaded(base, weights, offload):
    offloaded = run(load(base, weights, offload), torch.bfloat16)
    for a, b in zip(offloaded, run(load(base, weights), torch.bfloat16), strict=True):
        assert torch.equal(a, b)


def test_norms_and_modulation_stay_in_single_precision(base):
    model = load(base, "bf16")
    assert model.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert model.blocks[0].norm2.weight.dtype == torch.float32
    assert model.blocks[0].scale_shift_table.dtype == torch.float32
    assert model.condition_embedder.time_embedder.linear_1.weight.dtype == torch.float32
    assert model.condition_embedder.time_proj.weight.dtype == torch.float32
    assert model.condition_embedder.text_embedder.linear_1.weight.dtype == torch.bfloat16


def modulation(model, dtype, *, autocast=False):
    """Return the modulation that the blocks get, and the scale and shift of the head."""
    seen = []
    hook = model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    inputs = [t.to(dtype) if t.dim() > 1 else t for t in tiny_inputs(model)]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        model(*inputs)
        temb, *_ = model.condition_embedder(*inputs[1:])
    hook.remove()
    return seen[0], model.scale_shift_table + temb.unsqueeze(1)


@pytest.mark.parametrize(("weights", "autocast"), [("bf16", False), ("int8", False), ("fp32", True)])
def test_the_modulation_is_computed_in_single_precision(base, weights, autocast):
    dtype = torch.float32 if weights == "fp32" else torch.bfloat16
    found = modulation(load(base, weights), dtype, autocast=autocast)
    for a, b in zip(found, modulation(load(base), torch.float32), strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)  # the same weights; in bfloat16, 3e-3


@pytest.fixture
def native_again(base):
    yield
    load(base).set_attention_backend("native")  # diffusers keeps the choice for later models


@pytest.mark.usefixtures("native_again")
def test_attention_kernels_are_chosen_by_name(base):
    model = load(base)
    expected = run(model)[0]
    assert choose_attention(model, "auto", CPU, 45) == "native"
    assert choose_attention(model, "_native_math", CPU, 45) == "_native_math"
    assert model.blocks[0].attn1.processor._attention_backend == "_native_math"
    assert model.blocks[1].attn2.processor._attention_backend == "_native_math"
    assert_close(run(model)[0], expected)
    with pytest.raises(UserError, match="--attention nonsense cannot be used here"):
        choose_attention(model, "nonsense", CPU, 45)


def test_unknown_attention_kernels_are_refused():
    check_attention("auto")
    check_attention("_native_math")
    with pytest.raises(UserError, match="unknown attention kernel 'nativ'; did you mean 'native'"):
        check_attention("nativ")


def broken_compiler(*_):
    raise RuntimeError("no C compiler here")


@pytest.fixture
def dynamo():
    with torch._dynamo.config.patch(suppress_errors=False, fail_on_recompile_limit_hit=False):  # as before
        torch._dynamo.reset()
        yield torch._dynamo.config
    torch._dynamo.reset()


@pytest.mark.usefixtures("dynamo")
def test_blocks_that_cannot_be_compiled_run_eagerly_and_say_so(base, capsys):
    expected = run(load(base))[0]
    model = load(base)
    compile_blocks(model, required=False, backend=broken_compiler)
    assert_close(run(model)[0], expected)
    lines = [line for line in capsys.readouterr().err.splitlines() if "without torch.compile" in line]
    assert len(lines) == 1  # once for all blocks and steps
    assert "no C compiler here" in lines[0]


@pytest.mark.usefixtures("dynamo")
def test_a_required_compilation_that_fails_is_an_error(base):
    model = load(base)
    compile_blocks(model, required=True, backend=broken_compiler)
    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed, match="no C compiler here"):
        run(model)


def test_too_many_graphs_are_reported(base, capsys, dynamo):
    expected = run(load(base))
    model = load(base)
    compile_blocks(model, required=False, backend="eager")
    with dynamo.patch(recompile_limit=1):
        found = run(model)
    assert "without torch.compile" in capsys.readouterr().err
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_an_error_of_the_model_itself_is_raised(base, dynamo):
    model = load(base)
    compile_blocks(model, required=False, backend="eager")
    with pytest.raises(RuntimeError, match=r"size|shape|dimension"):
        model(*tiny_inputs(model), tiny_motion(model, grid=(2, 6, 10)))


@pytest.mark.usefixtures("dynamo")
@torch.no_grad()
def test_clips_of_every_size_and_number_of_people_share_three_graphs(base):
    frames = []
    model = load(base)
    compile_blocks(model, required=True, backend="eager")
    for grid in ((3, 6, 10), (2, 8, 8), (5, 4, 12)):
        for num_people in range(5):
            mask = torch.ones(1, grid[0], grid[1] * grid[2] // 4, num_people).bool() if num_people > 1 else None
            motion = tiny_motion(model, num_people, grid, mask) if num_people else None
            model(*tiny_inputs(model, grid), motion)
            frames.append(len(_cache_entries(type(model.blocks[0]).forward)))
    assert frames == [1, 2, *[3] * 13]


def _cache_entries(function):
    return torch._dynamo.eval_frame._debug_get_cache_entry_list(function.__code__)


def test_devices():
    assert resolve_device("cpu") == CPU
    if not torch.cuda.is_available():
        assert resolve_device("auto") == CPU
        with pytest.raises(UserError, match="finds no GPU"):
            resolve_device("cuda")
    with pytest.raises(UserError, match="expected cpu"):
        resolve_device("gpu")


def test_a_cpu_has_no_gpu_memory():
    vram, ram = set_memory_limit(CPU, 0)
    assert vram == float("inf")
    assert ram > 0.1
    assert available_vram_gib(CPU, 4) == float("inf")


@pytest.fixture
def gpus(monkeypatch):
    """A machine with two GPUs of 24 GiB, 10 of which are free, 6 in use by this process and 7 kept by it."""
    calls = {}
    cuda = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "mem_get_info": lambda device: (10 * GIB, 24 * GIB),
        "memory_allocated": lambda device: 6 * GIB,
        "memory_reserved": lambda device: 7 * GIB,
        "set_per_process_memory_fraction": lambda share, device: calls.update(share=share),
    }
    for name, function in cuda.items():
        monkeypatch.setattr(torch.cuda, name, function)
    return calls


def test_every_process_takes_a_gpu_of_its_own(gpus, monkeypatch):
    assert resolve_device("auto") == torch.device("cuda:0")
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda:1")
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(UserError, match="there are 2 GPUs, counted from 0"):
        resolve_device("cuda:2")


@pytest.mark.parametrize(("vram", "stay_under", "share"), [(0, 10, None), (6, 6, 0.25), (16, 10, 2 / 3), (48, 10, 1.0)])
def test_memory_to_stay_under_is_what_is_free_or_less_on_request(gpus, vram, stay_under, share):
    assert set_memory_limit(torch.device("cuda:0"), vram)[0] == stay_under
    assert gpus.get("share") == (share and pytest.approx(share))


@pytest.mark.parametrize(("vram", "room"), [(0, 11), (9, 3), (48, 11)])
def test_room_is_what_is_free_or_kept_unused_under_the_limit(gpus, vram, room):
    assert available_vram_gib(torch.device("cuda:0"), vram) == room


def test_of_kernels_that_compute_the_same_the_fastest_is_taken(base, monkeypatch, capsys):
    times = {"native": 3.0, "_native_cudnn": 2.0, "flash": float("inf"), "_flash_3": 2.5}
    chosen = []
    monkeypatch.setattr(backbone, "_time_attention", lambda model, kernel, device, num_tokens: times[kernel])
    model = load(base)
    monkeypatch.setattr(model, "set_attention_backend", chosen.append)
    assert choose_attention(model, "auto", torch.device("cuda:0"), 45) == "_native_cudnn"
    assert chosen == ["_native_cudnn"]
    assert capsys.readouterr().err == "attention kernel: _native_cudnn\n"


@pytest.mark.parametrize(
    ("asked", "device", "offload", "required"),
    [("yes", "cpu", "none", True), ("yes", "cuda:0", "block", True), ("auto", "cuda:0", "none", False),
     ("auto", "cuda:0", "block", None), ("auto", "cpu", "none", None), ("no", "cuda:0", "none", None)],
)  # fmt: skip
def test_blocks_are_compiled_on_request_or_where_they_stay_on_a_gpu(monkeypatch, asked, device, offload, required):
    compiled, loaded = [], []
    monkeypatch.setattr(backbone, "load_transformer", lambda base, **options: loaded.append(options) or "a model")
    monkeypatch.setattr(backbone, "offload", lambda *args, **options: loaded.append((args, options)))
    monkeypatch.setattr(backbone, "compile_blocks", lambda model, required: compiled.append(required))
    plan = MemoryPlan(weights="bf16", offload=offload, tile=None, keys="device", estimate_gib=0)
    load_backbone(None, plan, RuntimeConfig(compile=asked), torch.device(device), ())
    assert compiled == ([] if required is None else [required])
    home = torch.device(device if offload == "none" else "cpu")
    assert loaded[0] == {"dtype": torch.bfloat16, "device": home, "transform": None, "on_block_loaded": None}
    moved = [(("a model", torch.device(device), offload), {})]
    assert loaded[1:] == ([] if offload == "none" else moved)


@pytest.mark.parametrize("weights", ["int8", "fp8"])
def test_blocks_become_8_bit_on_the_gpu_and_go_back_where_they_were(monkeypatch, weights):
    steps = []
    block = SimpleNamespace(to=steps.append)
    monkeypatch.setattr(backbone, "quantise_linears", lambda *args: steps.append(args))
    make_quantiser(weights, "the gpu", "home")(block)
    assert steps == ["the gpu", (block, weights), "home"]
    assert make_quantiser("bf16", "the gpu", "home") is None


def test_types_of_the_weights():
    assert {"fp32": torch.float32, **dict.fromkeys(("bf16", "fp8", "int8"), torch.bfloat16)} == backbone.DTYPES
    assert backbone.EXACT_KERNELS[0] == "native"


def test_the_processes_of_a_machine_share_its_memory(monkeypatch):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 << 30))
    assert set_memory_limit(CPU, 0)[1] == 64
    for num_processes, share in (("1", 64), ("2", 32), ("8", 8)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", num_processes)
        assert set_memory_limit(CPU, 0)[1] == share


def test_one_gpu_for_several_processes_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_device("cuda") == resolve_device("auto") == torch.device("cuda:1")
    with pytest.raises(UserError, match="one GPU for 2 processes; use --device cuda, a GPU for each"):
        resolve_device("cuda:1")
