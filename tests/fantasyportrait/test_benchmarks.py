"""The benchmark scripts run here as smoke tests; what they measure on a GPU is theirs to say."""

import json

import pytest
import torch

from benchmarks import fantasyportrait as speed
from benchmarks import fantasyportrait_memory as memory
from fantasyportrait.model.configs import SIZES


def test_the_speed_script_compares_equal_outputs_and_every_mode(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert speed.main(["--repeats", "1", "--json", str(tmp_path / "r.json")]) == 0
    assert "not a measurement" in capsys.readouterr().out
    one_step, modes = json.loads((tmp_path / "r.json").read_text())["tables"]
    assert [row["name"] for row in one_step["rows"]] == ["fantasyportrait", "plain"]
    assert all(row["median_s"] > 0 for row in one_step["rows"])
    assert len(modes["rows"]) == len(speed.MODES) + 1
    assert modes["rows"][-1]["name"].endswith("--vram 24")


def test_ours_and_the_plain_network_give_the_same():
    size, cpu = SIZES["tiny"], torch.device("cpu")
    (clip,) = speed.CLIPS["cpu"]
    model = speed.random_model(size.backbone, cpu, "fp32", cpu)
    adapter = speed.random_adapter(size, cpu, torch.float32)
    setting = speed.make_setting(clip, size, adapter, cpu, torch.float32)
    plain = speed.plain_step(model, adapter, setting)
    assert plain.std() > 0.1
    torch.testing.assert_close(speed.our_step(model, setting), plain, atol=1e-4, rtol=1e-4)


def test_operations_are_counted_as_the_profiler_counts_them():
    from torch.utils.flop_counter import FlopCounterMode

    size, cpu = SIZES["tiny"], torch.device("cpu")
    (clip,) = speed.CLIPS["cpu"]
    model = speed.random_model(size.backbone, cpu, "fp32", cpu)
    setting = speed.make_setting(clip, size, speed.random_adapter(size, cpu, torch.float32), cpu, torch.float32)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        speed.our_step(model, setting)
    modules = counter.get_flop_counts()["Global"]
    embedders = sum(counter.get_flop_counts().get("MotionTransformer.condition_embedder", {}).values())
    ends = sum(
        sum(counter.get_flop_counts().get(f"MotionTransformer.{name}", {}).values())
        for name in ("patch_embedding", "proj_out")
    )
    assert sum(modules.values()) - embedders - ends == pytest.approx(speed.flops(clip, size.backbone), rel=0.01)


def test_peaks_are_followed():
    x = torch.zeros(1000)

    def work():
        a = x + 1  # 4000 bytes, and after this line
        b = a + 1  # 4000 more
        del a
        return b + 1

    assert memory.traced(work, [x]) == 8000


def test_the_planners_constants_are_what_is_traced():
    for what, found, planned in memory.rows({"480x832": (104, 60)}, SIZES["14b"].backbone):
        assert found <= 1.01 * planned, what
        assert found >= 0.9 * planned, what
