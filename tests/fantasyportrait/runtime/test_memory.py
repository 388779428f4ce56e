import pytest

from exprbench.core.errors import UserError
from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.runtime.memory import Workload, choose_plan


def workload(**changes):
    size = MODEL_CONFIGS["14b"]
    defaults = {
        "backbone": size.backbone,
        "adapter": size.adapter,
        "num_tokens": 21 * 45 * 45,
        "num_latent_frames": 21,
        "num_people": 1,
        "num_windows": 1,
        "num_pixels": 720 * 720,
    }
    return Workload(**{**defaults, **changes})


def plan(vram_gib, ram_gib=128.0, **options):
    return choose_plan(workload(), vram_gib=vram_gib, ram_gib=ram_gib, **options)


def test_the_parameters_are_counted_exactly():
    assert workload().num_parameters == 16_394_878_784


def test_a_large_card_holds_everything():
    assert (plan(80).weights, plan(80).offload, plan(80).keys) == ("bf16", "none", "device")


def test_24_gib_are_enough_for_exact_weights_offloaded_by_block():
    chosen = plan(24)
    assert (chosen.weights, chosen.offload, chosen.keys) == ("bf16", "block", "host")
    assert chosen.estimate_gib < 24


def test_with_little_main_memory_weights_become_8_bit():
    assert plan(24, ram_gib=24).weights == "int8"


def test_less_memory_never_means_a_larger_estimate():
    estimates = [plan(vram).estimate_gib for vram in (80, 48, 24, 16, 12, 10, 8)]
    assert estimates == sorted(estimates, reverse=True)
    assert all(estimate <= vram for estimate, vram in zip(estimates, (80, 48, 24, 16, 12, 10, 8), strict=True))


def test_explicit_settings_are_kept():
    assert plan(80, weights="fp8").weights == "fp8"
    assert plan(80, offload="leaf").offload == "leaf"


def test_too_little_memory_is_an_error_with_a_remedy():
    with pytest.raises(UserError, match=r"2 GiB of GPU memory .*\(--max-side\)"):
        plan(2)
    with pytest.raises(UserError, match="16 GiB of GPU"):
        plan(16, offload="none", weights="bf16")


def test_motion_of_five_people_over_a_minute_is_counted():
    few, many = workload(), workload(num_people=5, num_windows=24)
    assert many.keys_values_gib("bf16") == pytest.approx(120 * few.keys_values_gib("bf16"))
    assert few.keys_values_gib("bf16") == pytest.approx(21 * 97 * 5120 * 2 * 2 * 40 / 2**30)


def test_a_plan_has_a_description():
    assert str(plan(24)).startswith("bf16 weights in CPU memory, offloaded by block: about")
    assert str(plan(8)).startswith("bf16 weights in CPU memory, offloaded by layer, VAE in tiles of 256: about")
    assert str(plan(80)).startswith("bf16 weights on the GPU: about")
