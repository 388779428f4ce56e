"""Smoke tests of the benchmark scripts."""

import json

import pytest
import torch

from benchmarks import fantasyportrait as speed
from benchmarks import fantasyportrait_memory as memory
from fantasyportrait.model.configs import MODEL_CONFIGS
from tests.closeness import assert_close


def test_the_speed_script_compares_equal_outputs_and_every_mode(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert speed.main(["--repeats", "1", "--json", str(tmp_path / "r.json")]) == 0
    assert "not a measurement" in capsys.readouterr().out
    one_step, modes = json.loads((tmp_path / "r.json").read_text())["tables"]
    assert [row["name"] for row in one_step["rows"]] == ["fantasyportrait", "plain"]
    assert all(row["median_s"] > 0 for row in one_step["rows"])
    assert len(modes["rows"]) == len(speed.MODES) + 1
    assert modes["rows"][-1]["name"].endswith("--vram 24")


def test_the_sampler_and_the_plain_network_give_equal_outputs():
    config, cpu = MODEL_CONFIGS["tiny"], torch.device("cpu")
    (clip,) = speed.CLIPS["cpu"]
    model = speed.random_model(config.backbone, cpu, "fp32", cpu)
    adapter = speed.random_adapter(config, cpu, torch.float32)
    inputs = speed.random_inputs(clip, config, adapter, cpu, torch.float32)
    plain = speed.plain_step(model, adapter, inputs)
    assert plain.std() > 0.1
    assert_close(speed.our_step(model, inputs), plain)


def test_flops_equal_those_of_the_profiler():
    from torch.utils.flop_counter import FlopCounterMode

    config, cpu = MODEL_CONFIGS["tiny"], torch.device("cpu")
    (clip,) = speed.CLIPS["cpu"]
    model = speed.random_model(config.backbone, cpu, "fp32", cpu)
    inputs = speed.random_inputs(clip, config, speed.random_adapter(config, cpu, torch.float32), cpu, torch.float32)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        speed.our_step(model, inputs)
    modules = counter.get_flop_counts()["Global"]
    embedders = sum(counter.get_flop_counts().get("MotionTransformer.condition_embedder", {}).values())
    ends = sum(
        sum(counter.get_flop_counts().get(f"MotionTransformer.{name}", {}).values())
        for name in ("patch_embedding", "proj_out")
    )
    assert sum(modules.values()) - embedders - ends == pytest.approx(speed.flops(clip, config.backbone), rel=0.01)


def test_peak_memory_is_traced():
    x = torch.zeros(1000)

    def work():
        a = x + 1  # 4000 bytes, and after this line
        b = a + 1  # 4000 more
        del a
        return b + 1

    assert memory.trace_peak(work, [x]) == 8000


def test_the_planners_constants_match_the_trace():
    for quantity, traced, planned in memory.rows({"480x832": (104, 60)}, MODEL_CONFIGS["14b"].backbone):
        assert traced <= 1.01 * planned, quantity
        assert traced >= 0.9 * planned, quantity
