"""Mistakes in paths and names: found before any heavy import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.convert import convert
from fantasyportrait.checks import check_convert, check_driver, check_model, check_runtime
from fantasyportrait.settings import ATTENTION_KERNELS, PRESETS, RuntimeConfig, build_sampling_config

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "diffusers", "transformers", "scipy", "mediapipe", "cv2.dnn", "onnxruntime")
SCRIPT = """
import json, sys
from fantasyportrait.cli import main
results = []
for words in json.loads(sys.argv[1]):
    results.append((main(words), [name for name in json.loads(sys.argv[2]) if name in sys.modules]))
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    convert(out=folder, random="tiny")
    return folder


def test_mistakes_are_found_without_heavy_imports(model, tmp_path):
    for name in ("p.png", "d.mp4"):
        (tmp_path / name).write_bytes(b"something")
    (tmp_path / "face.jpg").write_bytes(b"\xff\xd8\xff image")
    (tmp_path / "disguised.mp4").write_bytes(b"\x89PNG image")
    good = ["sample", "--model", str(model), "--portrait", "p.png", "--driver", "d.mp4", "--out", "o.mp4"]
    cases = [
        (["sample", "--model", "wrong", *good[3:]], "error: wrong is not a model folder (no fantasyportrait.json)"),
        ([*good, "--lora", "none.safetensors"], "error: there is no file none.safetensors"),
        ([*good, "--lora", "none.safetensors:x"], "error: --lora is 'none.safetensors:x'; expected FILE"),
        ([*good, "--attention", "flsh"], "error: unknown attention kernel 'flsh'; did you mean 'flash'"),
        ([*good, "--device", "gpu"], "error: --device is 'gpu'; expected cpu, cuda"),
        ([*good, "--size", "101x77"], "error: --size is '101x77'; expected even numbers"),
        ([*good, "--driver", "face.jpg"], "error: the driver face.jpg is an image; a driver is a video"),
        ([*good, "--driver", "disguised.mp4"], "error: the driver disguised.mp4 is an image; a driver is a video"),
        ([*good, "--face-detector", "a.onnx", "--face-landmarks", "b.onnx"], "error: there is no file a.onnx"),
        (["convert", "--base", "nowhere", "--adapter", "a", "--out", "x"], "error: there is no folder nowhere"),
        (["convert", "--base", ".", "--adapter", "a.ckpt", "--out", "x"], "error: there is no file a.ckpt"),
        (["convert", "--model", ".", "--to", "flat", "--out", "x"], "error: . is not a model folder"),
        (["convert", "--random", "tiney", "--out", "x"], "error: unknown size 'tiney'; did you mean 'tiny'"),
        (["info", "nowhere"], "error: there is no file or folder nowhere"),
    ]
    command = [sys.executable, "-c", SCRIPT, json.dumps([words for words, _ in cases]), json.dumps(HEAVY)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[2, []]] * len(cases)
    for line, (_, message) in zip(done.stderr.splitlines(), cases, strict=True):
        assert line.startswith(message)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("adapter.safetensors", r"there is no file .*adapter\.safetensors; convert the model again"),
        ("base", r"there is no folder .*base, the base of .*; move it back or convert the model again"),
        ("base/vae/diffusion_pytorch_model.safetensors", r"base has no VAE; expected Wan2\.1_VAE"),
    ],
)
def test_what_a_model_folder_lacks_is_named(model, tmp_path, lost, message):
    (tmp_path / "m").symlink_to(model)
    check_model(tmp_path / "m", [], [])
    moved = model / f"{lost}.moved"
    (model / lost).rename(moved)
    try:
        with pytest.raises(UserError, match=message):
            check_model(model, [], [])
    finally:
        moved.rename(model / lost)


def test_all_kernels_of_diffusers_are_known():
    from diffusers.models.attention_dispatch import AttentionBackendName

    assert {kernel.value for kernel in AttentionBackendName} <= set(ATTENTION_KERNELS)
    for name in ATTENTION_KERNELS:
        check_runtime(RuntimeConfig(attention=name))


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:3"])
def test_device_names(device):
    check_runtime(RuntimeConfig(device=device))


def test_gifs_and_folders_can_be_drivers(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    check_driver(tmp_path / "a.gif")
    check_driver(tmp_path)
    with pytest.raises(UserError, match="there is no driver"):
        check_driver(tmp_path / "none.mp4")


def test_existing_paths_can_be_converted(model):
    check_convert(model / "base", model / "adapter.safetensors", None, model, "tiny")


def test_the_released_preset_has_the_released_negative_prompt():
    released = build_sampling_config("released", {})
    assert released.negative_prompt.startswith("人物静止不动，静止，色调艳丽")  # noqa: RUF001
    assert released.negative_prompt.endswith("背景人很多，倒着走")  # noqa: RUF001
    assert build_sampling_config("paper", {}).negative_prompt == ""
    assert build_sampling_config("released", {"negative_prompt": ""}).negative_prompt == ""
    assert set(PRESETS["released"]) == {"expression_guidance", "mask", "window", "negative_prompt"}
