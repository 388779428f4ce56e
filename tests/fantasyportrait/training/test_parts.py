"""Patch autoencoder, predictions, loss curve, log and command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from exprbench.core.errors import UserError
from fantasyportrait.cli import main
from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.model.patch_autoencoder import PatchAutoencoder
from fantasyportrait.model.vae import decode, encode_video
from fantasyportrait.runtime.memory import RESERVE_GIB
from fantasyportrait.training import run_training
from fantasyportrait.training.loss_curve import collect_curves, draw_curves
from fantasyportrait.training.predictions import count_adapter, count_lora, describe, flops_per_token, predict
from fantasyportrait.training.recipes import get_recipe
from fantasyportrait.training.run_log import RunLog, peak_flops, progress_line, read_metrics
from fantasyportrait.training.trainable import add_lora
from fantasyportrait.training.training_config import override
from tests.fantasyportrait.training.examples import tiny_model

SIZE = MODEL_CONFIGS["14b"]


def smooth_videos(num_videos=3, num_frames=13, side=32):
    """Videos of slowly moving gradients, which 16 components describe well."""
    t, y, x = np.meshgrid(np.arange(num_frames), np.arange(side), np.arange(side), indexing="ij")
    made = [np.stack([np.sin((x + i * y + t) / (20 + c)) for c in range(3)], -1) for i in range(num_videos)]
    return ((np.stack(made) + 1) * 127.5).astype(np.uint8)


@torch.no_grad()
def test_patches_are_encoded_and_decoded_like_by_a_vae():
    videos = smooth_videos()
    vae = PatchAutoencoder().fit(videos)
    latents = encode_video(vae, videos[0])
    assert latents.shape == (1, 16, 4, 4, 4)
    frames = np.stack(list(decode(vae, latents)))
    assert frames.shape == videos[0].shape
    assert np.abs(frames.astype(float) - videos[0]).mean() < 3
    pieces = torch.cat([encode_video(vae, videos[0][:5]), encode_video(vae, videos[0])[:, :, 2:]], 2)
    assert torch.equal(pieces, latents)  # causal


def test_latents_have_a_mean_variance_of_one_and_the_strongest_component_first():
    videos = smooth_videos()
    vae = PatchAutoencoder().fit(videos)
    clips = torch.from_numpy(videos).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    variances = vae.first.encode(clips).square().mean((0, 2, 3, 4))
    assert float(variances.mean()) == pytest.approx(1, rel=1e-4)
    assert variances.tolist() == sorted(variances.tolist(), reverse=True)


def test_parameters_of_the_papers_run_are_counted():
    found = predict(get_recipe("paper-14b"), SIZE.backbone, SIZE.adapter, world_size=24, num_examples=48_000)
    assert found.num_frozen == 16_394_878_784
    assert found.num_trained == count_adapter(SIZE.adapter)
    assert 0.9e9 < found.num_trained < 1.1e9
    assert found.num_tokens == 20_000 * 24 * 21 * 45 * 45
    assert found.num_epochs == 10
    assert "20000 of 24 clips, 10.0 epochs" in describe(get_recipe("paper-14b"), found)


def test_operations_of_a_token_are_counted():
    backbone = SIZE.backbone
    found = flops_per_token(backbone, 1000, trains_backbone=False)
    attention = 3 * 4 * 1000 * 5120 * 40
    assert found == 4 * 16_394_878_784 + attention
    assert flops_per_token(backbone, 1000, trains_backbone=True) == 6 * 16_394_878_784 + attention
    recomputed = flops_per_token(backbone, 1000, trains_backbone=False, recomputes=True)
    assert recomputed == 6 * 16_394_878_784 + attention * 4 / 3


def test_time_follows_from_a_measured_rate_and_the_number_of_devices():
    options = {"config": get_recipe("paper-14b"), "backbone": SIZE.backbone, "adapter": SIZE.adapter}
    found = predict(**options, world_size=24, tokens_per_s=1000.0)
    assert found.device_hours == pytest.approx(found.num_tokens / 1000 / 3600)
    text = describe(get_recipe("paper-14b"), found)
    assert "1,000 tokens/s per device (measured)" in text
    assert "time          42.5 s per step, 236.2 h in all, 5,670.0 device hours" in text
    backbone, new = 2 * found.num_frozen, found.num_trained  # shards are gathered twice, gradients in float32
    assert found.traffic_gib == pytest.approx((2 * backbone + 4 * new + 4 * new) * 23 / 24 / 2**30)
    assert "assumed" in describe(get_recipe("paper-14b"), predict(**options, world_size=24))
    assert predict(**options, world_size=1).traffic_gib == 0


def test_memory_is_the_sum_of_its_parts_and_shared_by_devices():
    one, many = (
        predict(get_recipe("paper-14b"), SIZE.backbone, SIZE.adapter, world_size=n, num_examples=None) for n in (1, 24)
    )
    assert one.weights_gib == pytest.approx((2 * one.num_frozen + 4 * one.num_trained) / 2**30)
    assert one.optimizer_gib == pytest.approx(16 * one.num_trained / 2**30)  # gradient, two moments, average
    assert many.optimizer_gib == pytest.approx(one.optimizer_gib / 24)
    assert many.activations_gib == one.activations_gib
    assert one.total_gib == one.weights_gib + one.optimizer_gib + one.activations_gib + RESERVE_GIB
    assert one.num_epochs is None
    config = override(get_recipe("paper-14b"), {"optimizer.eight_bit": "true", "ema": "0"})
    small = predict(config, SIZE.backbone, SIZE.adapter, world_size=1)
    assert small.optimizer_gib == pytest.approx(6 * one.num_trained / 2**30)


def test_the_lora_recipe_is_predicted_to_fit_80_gb():
    found = predict(get_recipe("lora-14b"), SIZE.backbone, SIZE.adapter, world_size=1)
    assert found.total_gib * 2**30 < 80e9


def test_the_parameters_of_a_lora_are_counted_exactly():
    model = tiny_model().requires_grad_(False)
    add_lora(model.backbone, 3, 3.0)
    expected = sum(p.numel() for n, p in model.named_parameters() if ".lora_" in n)
    assert count_lora(MODEL_CONFIGS["tiny"].backbone, 3) == expected


LINES = [
    {"step": 1, "loss": 2.0},
    {"step": 2, "loss": 1.0},
    {"step": 2, "validation": {"true": 0.5, "shuffled": 0.7, "dropped": 0.6}},
]


def test_curves_of_a_run():
    curves = collect_curves(LINES)
    assert curves == {
        "training": [(1, 2.0), (2, 1.5)],
        "true": [(2, 0.5)],
        "shuffled": [(2, 0.7)],
        "dropped": [(2, 0.6)],
    }
    image = draw_curves(curves)
    assert image.shape == (560, 900, 3)
    assert (image == (150, 170, 200)).all(-1).any()  # the training loss


def test_lines_after_the_checkpoint_are_removed_when_a_run_continues(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES) + '{"step": 3, "lo')
    assert read_metrics(tmp_path) == LINES
    RunLog(tmp_path, first_step=1, enabled=True).write(2, {"loss": 0.5})
    assert read_metrics(tmp_path) == [LINES[0], {"step": 2, "loss": 0.5}]


def test_the_progress_line():
    values = {"loss": 0.5, "tokens_per_s": 1234.0, "utilisation": 0.4, "memory_gib": 9.04, "time_left_s": 3725.0}
    assert progress_line(7, 9, values) == (
        "step 7/9, loss 0.5000, 1234 tokens/s, utilisation 40%, 9.0 GiB, 1:02:05 left"
    )
    assert "utilisation" not in progress_line(7, 9, {**values, "utilisation": None})
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("an unknown card") is None


@pytest.fixture
def called(monkeypatch):
    found = {}
    for name in ("train", "prepare"):
        monkeypatch.setattr(
            run_training, name, lambda name=name, **options: found.update({name: options}) or ["a line", "another"]
        )
    return found


def test_arguments_of_train(called, capsys):
    assert main(["train", "--recipe", "tiny", "--out", "o", "--set", "steps=3", "--set", "a.b=c=d"]) == 0
    assert called["train"] == {
        "out": Path("o"), "recipe": "tiny", "model": None, "data": None, "continue_adapter": False, "benchmark": None,
        "num_cases": 4, "device": "auto", "reference": "first", "sources": [], "settings": {"steps": "3", "a.b": "c=d"},
    }  # fmt: skip
    assert capsys.readouterr().out == "a line\nanother\n"


def test_arguments_of_prepare(called):
    main(["prepare", "--model", "m", "--source", "a=b", "--source", "c", "--out", "o", "--dtype", "fp32"])
    assert called["prepare"] == {
        "model": Path("m"), "sources": ["a=b", "c"], "out": Path("o"), "recipe": "paper-14b", "settings": {},
        "reference": "first", "dtype": "fp32", "device": "auto",
    }  # fmt: skip


def test_wrong_arguments_are_refused(called, capsys):
    assert main(["train", "--out", "o", "--set", "steps"]) == 2
    assert "--set is 'steps'; expected NAME=VALUE" in capsys.readouterr().err


def test_a_run_needs_a_model_and_one_kind_of_data(tiny_folder, tmp_path):
    with pytest.raises(UserError, match="no model to train; give --model"):
        run_training.train(out=tmp_path)
    for data in ({}, {"data": tmp_path, "sources": ["a=b"]}):
        with pytest.raises(UserError, match=r"give either --data .* or --source"):
            run_training.train(out=tmp_path, model=tiny_folder.path, device="cpu", **data)


def test_a_dry_run_needs_no_model_and_writes_nothing(tmp_path, capsys):
    flags = ["--recipe", "paper-14b", "--out", str(tmp_path / "o"), "--dry-run", "--devices", "256"]
    assert main(["train", *flags, "--set", "batch_size=256", "--tokens-per-s", "2000"]) == 0
    assert "per device on 256" in capsys.readouterr().out
    assert not (tmp_path / "o").exists()


def test_the_tiny_recipe_is_started_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(run_training, "draw_clips", lambda _: None)
    with pytest.raises(UserError, match="makes its own model in one process"):
        run_training.train(out=tmp_path, recipe="tiny")


def test_slurm_ranks_are_taken_where_torchrun_has_set_none(monkeypatch):
    import os

    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    for name, value in (("SLURM_NTASKS", "4"), ("SLURM_PROCID", "3"), ("SLURM_LOCALID", "1")):
        monkeypatch.setenv(name, value)
    run_training._adopt_slurm()
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"], os.environ["LOCAL_RANK"]) == ("3", "4", "1")
