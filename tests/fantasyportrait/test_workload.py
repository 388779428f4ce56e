from types import SimpleNamespace

import pytest

from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.settings import SamplingConfig
from fantasyportrait.workload import build_windows, estimate_workload, largest_workload, latent_shape

TINY = MODEL_CONFIGS["tiny"]
FOLDER = SimpleNamespace(base=SimpleNamespace(backbone=TINY.backbone), adapter=TINY.adapter)


def inputs(size=(96, 64), num_latent_frames=40, num_driven=2):
    return SimpleNamespace(
        transform=SimpleNamespace(size=size),
        num_latent_frames=num_latent_frames,
        num_driven=num_driven,
        assignment=[None] * 5,
    )


def test_latents_are_an_eighth_of_the_pictures_height_and_width():
    assert latent_shape(inputs()) == (1, 16, 40, 8, 12)


@pytest.mark.parametrize(
    ("window", "overlap", "length", "shared"), [(81, 17, 21, 4), (81, 3, 21, 1), (21, 8, 6, 2), (84, 19, 22, 4)]
)
def test_windows_are_laid_in_latent_frames(window, overlap, length, shared):
    first, second = build_windows(40, SamplingConfig(window=window, overlap=overlap))[:2]
    assert (first.start, first.stop) == (0, length)
    assert second.start == min(length - shared, 40 - length)


@pytest.mark.parametrize(("num_shards", "tokens"), [(1, 21 * 24), (5, 101)])  # 504 / 5 is 100.8
def test_a_scene_asks_for_its_windows_tokens_and_driven_people(num_shards, tokens):
    workload = estimate_workload(FOLDER, inputs(), build_windows(40, SamplingConfig()), num_shards, SamplingConfig())
    assert (workload.num_tokens, workload.num_latent_frames, workload.num_people, workload.num_windows) == (
        tokens,
        21,
        2,
        3,
    )
    assert workload.num_pixels == 96 * 64
    assert (workload.backbone, workload.adapter) == (TINY.backbone, TINY.adapter)


def test_the_largest_case_of_a_benchmark_is_square_unless_a_size_is_asked_for():
    workload = largest_workload(FOLDER, SamplingConfig(max_side=96), 25, 3, 1)
    assert (workload.num_pixels, workload.num_tokens, workload.num_people, workload.num_windows) == (
        96 * 96,
        7 * 36,
        3,
        1,
    )
    workload = largest_workload(FOLDER, SamplingConfig(max_side=96, size="64x32", window=21, overlap=8), 157, 3, 2)
    assert (workload.num_pixels, workload.num_tokens, workload.num_windows) == (64 * 32, 6 * 8 // 2, 10)


@pytest.mark.parametrize(("options", "count"), [({}, 0), ({"cache": "mag"}, 6), ({"cache": "calibrate"}, 6),
    ({"cache": "mag", "text_guidance": 2.0}, 9), ({"cache": "mag", "expression_guidance": 1.0}, 3)])  # fmt: skip
def test_the_step_cache_keeps_a_residual_of_every_window_and_branch(options, count):
    config = SamplingConfig(**options)
    windows = build_windows(40, config)
    assert estimate_workload(FOLDER, inputs(), windows, 1, config).num_residuals == count
    plain = estimate_workload(FOLDER, inputs(), windows, 1, SamplingConfig())
    cached = estimate_workload(FOLDER, inputs(), windows, 1, config)
    expected = count * 21 * 24 * TINY.backbone.dim * 2 / 2**30
    assert cached.residuals_gib("bf16") == pytest.approx(expected)
    assert (cached.activations_gib("bf16") > plain.activations_gib("bf16")) == (count > 0)
