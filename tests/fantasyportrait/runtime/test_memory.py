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


def estimate(offload, *, weights="bf16", ram_gib=1e6, vram_gib=1e6, **changes):
    return choose_plan(workload(**changes), vram_gib=vram_gib, ram_gib=ram_gib, weights=weights, offload=offload)


SMALL_WINDOW = {"num_tokens": 1, "num_latent_frames": 1, "num_pixels": 2000 * 2000}  # decoding is the fullest moment
RESERVE = 1.5
BYTES = {"fp32": 4, "bf16": 2, "fp8": 1.02, "int8": 1.02}
BLOCK_PARAMETERS = 40 * (10 * 5120**2 + 2 * 5120 * 13824 + 24 * 5120 + 13824)
TIME_PARAMETERS = 5120 * 256 + 5120 + 7 * 5120**2 + 7 * 5120  # kept in single precision


def embedders_gib(weights):
    """Return the memory of what is outside of the blocks, which is never in 8 bits."""
    others = 16_394_878_784 - BLOCK_PARAMETERS - TIME_PARAMETERS
    return (4 * TIME_PARAMETERS + (4 if weights == "fp32" else 2) * others) / 2**30


def test_weights_on_the_gpu_are_there_while_frames_are_decoded():
    asked = workload(**SMALL_WINDOW)
    decoding = 2000 * 2000 * 19_500 / 2**30
    assert estimate("none", **SMALL_WINDOW).estimate_gib == pytest.approx(
        asked.weights_gib("bf16") + decoding + RESERVE
    )
    assert estimate("block", **SMALL_WINDOW).estimate_gib == pytest.approx(decoding + RESERVE)


@pytest.mark.parametrize(("offload", "held", "embedders"), [("none", 40, 1), ("block", 3, 1), ("leaf", 0.5, 0)])
@pytest.mark.parametrize("weights", ["fp32", "bf16", "int8", "fp8"])
def test_while_denoising_there_are_the_weights_in_use_a_blocks_activations_and_keys(offload, held, embedders, weights):
    asked = workload()
    of_keys = asked.keys_values_gib(weights) * (1 if offload == "none" else 2 / 40)
    in_use = BLOCK_PARAMETERS * BYTES[weights] / 2**30 * held / 40 + embedders * embedders_gib(weights)
    expected = in_use + asked.activations_gib(weights) + of_keys
    found = estimate(offload, weights=weights, num_pixels=1)  # nothing to decode
    assert found.keys == ("device" if offload == "none" else "host")
    assert found.tile is None
    assert found.estimate_gib == pytest.approx(expected + RESERVE)


def test_what_things_weigh():
    asked = workload()
    for weights, size in BYTES.items():
        expected = BLOCK_PARAMETERS * size / 2**30 + embedders_gib(weights)
        assert asked.weights_gib(weights) == pytest.approx(expected)
        assert asked.embedders_gib(weights) == pytest.approx(embedders_gib(weights))
        kind = 4 if weights == "fp32" else 2
        assert asked.keys_values_gib(weights) == pytest.approx(21 * 97 * 5120 * 2 * kind * 40 / 2**30)
    assert asked.activations_gib("bf16") == pytest.approx(10.2 * 21 * 45 * 45 * 5120 * 2 / 2**30)
    assert asked.activations_gib("int8") == asked.activations_gib("bf16")
    assert asked.activations_gib("fp32") == pytest.approx(8.5 * 21 * 45 * 45 * 5120 * 4 / 2**30)
    assert asked.vae_gib(None) == pytest.approx(720 * 720 * 19_500 / 2**30)
    assert asked.vae_gib(256) == pytest.approx(256 * 256 * 19_500 / 2**30)
    assert workload(num_pixels=100).vae_gib(256) == workload(num_pixels=100).vae_gib(None)


def test_plans_are_tried_from_the_fastest_on():
    tiled = workload(**SMALL_WINDOW)
    whole = tiled.weights_gib("bf16") + tiled.vae_gib(256) + RESERVE
    found = estimate("auto", weights="auto", vram_gib=whole + 0.01, **SMALL_WINDOW)
    assert (found.weights, found.offload, found.tile) == ("bf16", "none", 256)  # before anything is offloaded
    found = estimate("auto", weights="auto", vram_gib=whole - 0.01, **SMALL_WINDOW)
    assert (found.weights, found.offload, found.tile) == ("bf16", "block", 256)  # before weights lose precision
    assert estimate("auto", weights="auto", **SMALL_WINDOW).tile is None


@pytest.mark.parametrize(("offload", "keys"), [("none", "host"), ("block", "host"), ("block", "recompute")])
def test_main_memory_holds_what_the_gpu_does_not(offload, keys):
    many = {"num_people": 5, "num_windows": 24}
    asked = workload(**many)
    of_keys = 2 * asked.keys_values_gib("bf16") if keys == "host" else 0
    ram = of_keys + (1.1 * asked.weights_gib("bf16") + 4 if offload == "block" else 0)
    vram = asked.weights_gib("bf16") + asked.activations_gib("bf16") + RESERVE + 10  # too little for all keys
    found = estimate(offload, vram_gib=vram, ram_gib=ram + 0.01, **many)
    assert (found.offload, found.keys) == (offload, keys)
    if keys == "host":
        assert estimate(offload, vram_gib=vram, ram_gib=ram - 0.01, **many).keys == "recompute"


def test_a_plan_that_just_fits_is_taken():
    found = estimate("none")
    again = estimate("none", vram_gib=found.estimate_gib)
    assert again == found
    assert estimate("block", vram_gib=1e6, ram_gib=1.1 * workload().weights_gib("bf16") + 4).keys == "recompute"
