"""The whole command with a tiny model of random weights."""

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

import exprbench
from exprbench.media import read_clip, read_image
from fantasyportrait import pipeline as pipeline_module
from fantasyportrait.checkpoints.convert import convert
from fantasyportrait.cli import main
from fantasyportrait.diffusion import denoise
from fantasyportrait.diffusion.windows import split_windows
from fantasyportrait.expression import driver as driver_module
from fantasyportrait.model import attention
from fantasyportrait.model.adapter import MotionProjection
from fantasyportrait.pipeline import Pipeline
from fantasyportrait.runtime.parallel import Ranks
from fantasyportrait.watermark import read_generation_metadata
from tests.closeness import assert_close
from tests.people import clip, person, still


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    convert(out=folder, random="tiny")
    return folder


@pytest.fixture
def files(tmp_path, quick):
    still(tmp_path / "one.png", person(1))
    still(tmp_path / "three.png", person(1, x=0.2), person(1, x=0.5, seed=1), person(1, x=0.8, seed=2))
    for name, seed in (("a", 3), ("b", 4), ("c", 5)):
        clip(tmp_path / f"{name}.mp4", 9, person(9, x=0.4, seed=seed), start=9 * seed)
    clip(tmp_path / "three.mp4", 9, *(person(9, x=x, seed=i) for i, x in enumerate((0.2, 0.5, 0.8))))
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """Replace the encoder by a fast function of the image."""

    def encode(_encoder, crops):
        small = crops[:, ::16, ::16].reshape(len(crops), -1)[:, :554] / 127.5 - 1
        return np.pad(small, ((0, 0), (0, 554 - small.shape[1]))).astype(np.float32)

    monkeypatch.setattr(driver_module, "encode_crops", encode)


@pytest.fixture
def made(monkeypatch):
    """Return a list of the frames of each video before encoding: x264 does not write the same bytes each time."""
    videos, write = [], pipeline_module.write_video

    def record(out, frames, **options):
        videos.append(np.stack(list(frames)))
        return write(out, videos[-1], **options)

    monkeypatch.setattr(pipeline_module, "write_video", record)
    return videos


def sample(model, out, portrait, *drivers, rc=0, steps=2, side=96, extra=()):
    flags = [word for driver in drivers for word in ("--driver", str(driver))]
    words = ["sample", "--model", str(model), "--portrait", str(portrait), *flags, "--out", str(out)]
    assert main([*words, "--steps", str(steps), "--max-side", str(side), *map(str, extra)]) == rc
    return read_clip(out) if rc == 0 else None


# On real clips


@pytest.mark.shared
def test_one_person(model, shared, needs_weights, tmp_path):
    needs_weights("face_landmarker")
    portrait, driver = shared("portraits/s0.jpg"), shared("driving/jgz.mp4")
    frames, info = sample(model, tmp_path / "o.mp4", portrait, driver, extra=["--frames", 6, "--audio"])
    assert len(frames) == 6
    assert (info.fps, info.has_audio) == (15, True)
    height, width = read_image(portrait).shape[:2]
    assert frames.shape[2] / frames.shape[1] == pytest.approx(width / height, rel=0.2)
    record = read_generation_metadata(tmp_path / "o.mp4")
    assert record["generated"] is True
    assert record["checkpoint"].startswith("random-tiny-seed0")
    assert (record["seed"], record["options"]["steps"]) == (0, 2)


@pytest.mark.shared
def test_two_people_of_one_driver(model, shared, needs_weights, tmp_path):
    needs_weights("face_landmarker")
    portrait, driver = shared("multi/two_person.png"), shared("multi/two_person.mp4")
    frames, info = sample(model, tmp_path / "o.mp4", portrait, driver, extra=["--frames", 5])
    assert frames.shape == (5, 64, 96, 3)
    assert info.fps == pytest.approx(23, abs=1)


@pytest.mark.shared
def test_two_drivers_and_one_of_two(model, shared, needs_weights, tmp_path, made):
    needs_weights("face_landmarker")
    portrait = shared("multi/two_person.png")
    drivers = shared("driving/trump.mp4"), shared("driving/biden.mp4")
    extra = ["--frames", 5, "--fps", 12.5]
    both, info = sample(model, tmp_path / "o.mp4", portrait, *drivers, extra=extra)
    assert (len(both), info.fps) == (5, 12.5)
    sample(model, tmp_path / "p.mp4", portrait, *drivers, extra=[*extra, "--assign", "-,1.0"])
    assert not np.array_equal(*made)


@pytest.mark.shared
def test_a_long_clip_over_windows_has_no_seam(model, shared, needs_weights, tmp_path):
    needs_weights("face_landmarker")
    portrait, driver = shared("portraits/s3.jpg"), shared("driving/jgz.mp4")
    extra = ["--frames", 21, "--window", 9, "--overlap", 4]
    frames, _ = sample(model, tmp_path / "o.mp4", portrait, driver, extra=extra)
    assert len(frames) == 21
    change = np.abs(np.diff(frames.astype(float), axis=0)).mean((1, 2, 3))
    seams = [4 * after.start + i for _, after in pairwise(split_windows(6, 3, 1)) for i in range(-1, 3)]
    others = np.delete(change, seams)
    assert change[seams].max() <= others.max()


@pytest.mark.slow
@pytest.mark.shared
def test_the_command_itself(model, shared, needs_weights, tmp_path):
    needs_weights("face_landmarker")
    words = [sys.executable, "-m", "fantasyportrait", "sample", "--model", model, "--out", tmp_path / "o.mp4"]
    words += ["--portrait", shared("portraits/s0.jpg"), "--driver", shared("driving/jgz.mp4")]
    done = subprocess.run(
        [*words, "--frames", "5", "--steps", "1", "--max-side", "64"], capture_output=True, text=True, check=False
    )
    # LiteRT, inside MediaPipe, warns now and then that the allocator did not align a buffer as it prefers.
    lines = [line for line in done.stderr.splitlines() if "LiteRt's memory alignment requirements" not in line]
    assert done.returncode == 0
    assert [line.rpartition(" in ")[0] for line in lines] == ["s0.jpg: 1/1 steps"]
    assert done.stdout == f"{tmp_path / 'o.mp4'}\n"
    assert len(read_clip(tmp_path / "o.mp4")[0]) == 5


# On synthetic clips


def test_equal_seeds_give_equal_frames(model, files, made):
    for name, seed in (("x", 1), ("y", 1), ("z", 2)):
        sample(model, files / f"{name}.mp4", files / "one.png", files / "a.mp4", extra=["--seed", seed])
    np.testing.assert_array_equal(made[0], made[1])
    assert np.abs(made[0].astype(int) - made[2]).mean() > 5


def test_three_people_of_one_clip_and_of_three(model, files, made):
    sample(model, files / "x.mp4", files / "three.png", files / "three.mp4")
    sample(model, files / "y.mp4", files / "three.png", *(files / f"{d}.mp4" for d in "abc"))
    assert not np.array_equal(*made)


def test_exchanging_the_middle_driver_hardly_changes_the_other_faces(model, files, monkeypatch):
    """Compare latents: the random attention of the tiny VAE spreads changes over the whole frame."""
    latents, decode = [], pipeline_module.decode
    monkeypatch.setattr(pipeline_module, "decode", lambda vae, x, **o: latents.append(x) or decode(vae, x, **o))
    clip(files / "d.mp4", 9, person(9, x=0.5, seed=9), start=700)
    changes = {}
    for mask in ("trilinear", "none"):
        for middle in "bd":
            drivers = (files / f"{d}.mp4" for d in ("a", middle, "c"))
            extra = ["--mask", mask, "--overwrite"]
            sample(model, files / "o.mp4", files / "three.png", *drivers, side=160, extra=extra)
        change = (latents.pop() - latents.pop()).abs().mean((0, 1, 2))
        # A face is 32 pixels wide, a fifth of the frame: 4 latents around its middle.
        changes[mask] = [float(change[4:8, int(20 * x) - 1 : int(20 * x) + 2].mean()) for x in (0.2, 0.5, 0.8)]
    left, own, right = changes["trilinear"]
    assert max(left, right) < 0.1 * own
    left, own, right = changes["none"]
    assert min(left, right) > 0.3 * own


@pytest.mark.parametrize("row", ["none", "all"])
def test_the_other_rows_of_table_3_sample_too(files, tmp_path, row):
    assert main(["convert", "--random", "tiny", "--augment", row, "--out", str(tmp_path / "m")]) == 0
    frames, _ = sample(tmp_path / "m", files / "x.mp4", files / "three.png", files / "three.mp4", side=64)
    assert len(frames) == 9


def test_without_strength_the_driver_does_not_matter(model, files, made):
    for name in "ab":
        extra = ["--strength", 0]
        sample(model, files / f"{name}{name}.mp4", files / "one.png", files / f"{name}.mp4", extra=extra)
    np.testing.assert_array_equal(*made)


def test_the_video_has_the_given_size(model, files):
    frames, _ = sample(model, files / "x.mp4", files / "one.png", files / "a.mp4", extra=["--size", "100x60"])
    assert frames.shape == (9, 60, 100, 3)


def test_the_watermark_is_visible(model, files):
    plain, _ = sample(model, files / "x.mp4", files / "one.png", files / "a.mp4", side=160)
    marked, _ = sample(model, files / "y.mp4", files / "one.png", files / "a.mp4", side=160, extra=["--mark"])
    change = np.abs(plain.astype(int) - marked).mean((0, 3))
    assert change[-10:, -40:].mean() > 5 * change[:40, :60].mean()


def test_previews_are_written_during_denoising(model, files):
    extra = ["--preview", files / "previews"]
    sample(model, files / "x.mp4", files / "one.png", files / "a.mp4", steps=3, extra=extra)
    names = sorted(p.name for p in (files / "previews").iterdir())
    assert names == ["step-001.png", "step-002.png", "step-003.png"]
    assert read_image(files / "previews/step-003.png").shape == (64, 3 * 96, 3)


def test_lost_frames_are_reported(model, files, capsys):
    clip(files / "gap.mp4", 9, person(9, seed=8, hidden=(2, 3)))
    sample(model, files / "x.mp4", files / "one.png", files / "gap.mp4")
    assert "gap.mp4: face 0 was lost in 2 frames, which were interpolated" in capsys.readouterr().err


def test_keys_are_computed_once_per_clip_and_layer_and_not_for_the_still_branch(model, files, monkeypatch):
    projected, attended, evaluated = [], [], []
    project, attend, evaluate = MotionProjection.forward, attention.motion_attention, denoise._predict_velocity
    monkeypatch.setattr(MotionProjection, "forward", lambda *a: projected.append(1) or project(*a))
    monkeypatch.setattr(attention, "motion_attention", lambda *a: attended.append(1) or attend(*a))
    monkeypatch.setattr(denoise, "_predict_velocity", lambda *a: evaluated.append(1) or evaluate(*a))
    sample(model, files / "x.mp4", files / "one.png", files / "a.mp4", steps=3)
    assert len(projected) == 2  # layers
    assert len(evaluated) == 2 * 3  # branches, steps
    assert len(attended) == 2 * 3  # layers, steps: one branch only


def test_memory_modes_give_the_same_video(model, files, made):
    for offload in ("none", "block", "leaf"):
        out, extra = files / f"{offload}.mp4", ["--offload", offload]
        sample(model, out, files / "one.png", files / "a.mp4", extra=extra)
    for other in made[1:]:  # weights at other addresses: a value may be rounded to either of two
        np.testing.assert_allclose(other.astype(int), made[0].astype(int), rtol=0, atol=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--portrait", "absent.png", "--driver", "a.mp4"], "there is no portrait absent.png"),
        (["--portrait", "one.png", "--driver", "absent.mp4"], "there is no driver absent.mp4"),
        (["--portrait", "one.png"], "nothing to animate; give --portrait and --driver, or --benchmark"),
        (["--portrait", "three.png", "--driver", "a.mp4"], "3 faces, the drivers have 1 face"),
        (["--portrait", "one.png", "--driver", "a.mp4", "--steps", "0"], "--steps is 0; expected 1 or more"),
        (
            ["--portrait", "one.png", "--driver", "a.mp4", "--overlap", "90"],
            "--overlap is 90; expected less than --window, which is 81",
        ),
        (["--portrait", "one.png", "--driver", "a.mp4", "--size", "big"], "expected WIDTHxHEIGHT"),
        (["--portrait", "one.png", "--driver", "a.mp4", "--out", "o.avi"], "expected a file name ending in .mp4"),
        (["--portrait", "one.png", "--driver", "a.mp4", "--model", "nowhere"], "not a model folder"),
        (["--portrait", "one.png", "--driver", "a.mp4", "--lora", "l.safetensors"], "there is no file l.safetensors"),
        (["--portrait", "one.png", "--driver", "a.mp4", "--face-detector", "d.onnx"], "give both or neither"),
        (["--portrait", "one.png", "--driver", "a.mp4", "--prompt", "a man"], "no tokenizer"),
        (["--portrait", "one.png", "--driver", "a.mp4", "--fps", "nan"], "--fps is nan; expected a number"),
        (["--portrait", "one.png", "--driver", "a.mp4", "--vram", "-1"], "--vram is -1.0; expected 0 or more"),
        (["--portrait", "one.png", "--driver", "a.mp4", "--context-parallel", "0"], "expected 1 or more"),
        (["--portrait", "one.png", "--driver", "a.mp4", "--attention", "flsh"], "did you mean 'flash'"),
        (["--portrait", "one.png", "--driver", "a.mp4", "--out", "one.png/o.mp4"], "one.png cannot be written to"),
        (["--benchmark", "b", "--portrait", "one.png"], "--benchmark sets portraits and drivers; leave out --portrait"),
        (["--benchmark", "nowhere"], "is not a benchmark"),
    ],
)
def test_mistakes_are_one_line_errors(model, files, monkeypatch, capsys, words, message):
    monkeypatch.chdir(files)
    assert main(["sample", "--model", str(model), "--out", "o.mp4", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (files / "o.mp4").exists()


def test_nothing_is_computed_before_mistakes_are_found(model, files, monkeypatch, capsys):
    for name in ("load_backbone", "load_vae", "load_image_encoder", "load_adapter", "load_expression_encoder"):
        monkeypatch.setattr(pipeline_module, name, lambda *_a, **_o: pytest.fail("loaded before the mistake was found"))
    (files / "broken.mp4").write_bytes(b"nothing")
    clip(files / "faceless.mp4", 9, person(9, hidden=range(9)))
    for portrait, driver in (("one", "broken"), ("one", "faceless"), ("three", "a")):
        sample(model, files / "x.mp4", files / f"{portrait}.png", files / f"{driver}.mp4", rc=2)
    assert capsys.readouterr().err.count("\n") == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "holds a list, not an object"),
        ('{"format": 9}', "has format 9; this version reads 1"),
        ('{"format": 1, "base": "b"}', "has no entry for adapter, expression"),
    ],
)
def test_damaged_model_folders_are_refused(files, tmp_path, capsys, text, message):
    (tmp_path / "fantasyportrait.json").write_text(text)
    sample(tmp_path, files / "x.mp4", files / "one.png", files / "a.mp4", rc=2)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        (
            lambda *_a, **_o: torch.full((1, 16, 3, 8, 12), torch.nan),
            "not_finite: the model returned NaN or infinite values",
        ),
        (lambda *_a, **_o: raise_(torch.OutOfMemoryError("no room")), "the GPU ran out of memory; set --vram"),
    ],
)
def test_failures_on_a_gpu_are_one_line_and_leave_no_file(model, files, monkeypatch, capsys, fail, message):
    monkeypatch.setattr(pipeline_module, "denoise", fail)
    sample(model, files / "x.mp4", files / "one.png", files / "a.mp4", rc=2)
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not list(files.glob("*x*.mp4"))


def raise_(error):
    raise error


def test_processes_with_nothing_to_share_are_refused(model, files, monkeypatch, capsys):
    monkeypatch.setattr(pipeline_module, "init_distributed", lambda **_: Ranks(num_cases=2))
    sample(model, files / "x.mp4", files / "one.png", files / "a.mp4", rc=2)
    assert (
        "2 processes would generate the same video; share the work with --guidance-parallel 2"
        in capsys.readouterr().err
    )


def test_an_encoder_too_large_for_the_gpu_stays_in_cpu_memory(model, monkeypatch):
    pipeline, moves = pipeline_module.load_pipeline(model), []
    module = torch.nn.Linear(2, 2)
    monkeypatch.setattr(module, "to", moves.append)
    monkeypatch.setattr(pipeline_module, "available_vram_gib", lambda *_: 0.0)
    with pipeline._on_gpu(module):
        assert moves == []
    monkeypatch.setattr(pipeline_module, "available_vram_gib", lambda *_: 1.0)
    with pipeline._on_gpu(module):
        assert moves[1:] == [pipeline.device]


def test_existing_videos_are_not_overwritten(model, files, capsys):
    sample(model, files / "x.mp4", files / "one.png", files / "a.mp4")
    before = (files / "x.mp4").read_bytes()
    sample(model, files / "x.mp4", files / "one.png", files / "b.mp4", rc=2)
    assert "already exists" in capsys.readouterr().err
    assert (files / "x.mp4").read_bytes() == before
    sample(model, files / "x.mp4", files / "one.png", files / "b.mp4", extra=["--overwrite"])
    assert (files / "x.mp4").read_bytes() != before


# Benchmarks


@pytest.fixture
def bench(files):
    for name in ("p", "d", "mp", "md"):
        (files / name).mkdir()
    still(files / "p/one.png", person(1))
    clip(files / "d/a.mp4", 25, person(25, seed=3))
    still(files / "mp/two.png", person(1, x=0.3), person(1, x=0.7, seed=2))
    clip(files / "md/both.mp4", 25, person(25, x=0.3, seed=5), person(25, x=0.7, seed=6))
    folders = {"portraits": files / "p", "driving": files / "d", "multi_portraits": files / "mp"}
    exprbench.build(**folders, multi_driving=files / "md", out=files / "bench", clip_seconds=1, workers=0)
    return files / "bench"


def run_bench(model, bench, out, *extra):
    words = ["sample", "--model", str(model), "--benchmark", str(bench), "--out", str(out), "--steps", "1"]
    return main([*words, "--max-side", "64", *map(str, extra)])


def test_an_interrupted_benchmark_is_resumed(model, bench, tmp_path, monkeypatch, capsys):
    ids = [case.case_id for case in exprbench.Benchmark.open(bench).cases]
    assert len(ids) == 4
    generate, calls = Pipeline.generate_video, []

    def stop_at_the_third(self, *args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return generate(self, *args, **options)

    monkeypatch.setattr(Pipeline, "generate_video", stop_at_the_third)
    assert run_bench(model, bench, tmp_path / "out") == 130
    assert sorted(p.stem for p in (tmp_path / "out").glob("*.mp4")) == sorted(ids[:2])
    first = (tmp_path / "out" / f"{ids[0]}.mp4").stat().st_mtime_ns
    assert run_bench(model, bench, tmp_path / "out") == 0
    assert "2 generated, 2 skipped, 0 failed" in capsys.readouterr().out
    assert sorted(p.stem for p in (tmp_path / "out").glob("*.mp4")) == sorted(ids)
    assert (tmp_path / "out" / f"{ids[0]}.mp4").stat().st_mtime_ns == first
    frames, info = read_clip(tmp_path / "out" / f"{ids[-1]}.mp4")
    assert (len(frames), info.fps, info.has_audio) == (25, 25, False)
    assert not list((tmp_path / "out").glob(".tmp-*"))


def test_videos_of_other_settings_are_refused(model, bench, tmp_path, capsys):
    assert run_bench(model, bench, tmp_path / "out", "--split", "single") == 0
    assert run_bench(model, bench, tmp_path / "out", "--seed", 5) == 2
    assert "holds videos of other settings (seed 0, not 5)" in capsys.readouterr().err
    assert run_bench(model, bench, tmp_path / "out", "--seed", 5, "--overwrite", "--split", "single") == 0


def test_memory_is_planned_for_the_largest_case_before_the_first(model, bench, tmp_path, monkeypatch):
    workloads, choose_plan = [], pipeline_module.choose_plan
    monkeypatch.setattr(
        pipeline_module, "choose_plan", lambda workload, **o: workloads.append(workload) or choose_plan(workload, **o)
    )
    assert run_bench(model, bench, tmp_path / "out", "--split", "single") == 0
    (workload,) = workloads
    assert (workload.num_people, workload.num_latent_frames, workload.num_tokens) == (2, 7, 7 * 4 * 4)


def test_shards_add_up_to_the_whole(model, bench, tmp_path):
    for i in (1, 2, 3):
        assert run_bench(model, bench, tmp_path / "out", "--shard", f"{i}/3") == 0
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 4


def test_a_failed_case_does_not_stop_the_others(model, bench, tmp_path, capsys):
    (bench / "portraits/one.png").write_bytes(b"broken")
    assert run_bench(model, bench, tmp_path / "out") == 3
    output = capsys.readouterr()
    assert "3 generated, 0 skipped, 1 failed" in output.out
    failed = json.loads((tmp_path / "out/failed-1-of-1.json").read_text())
    assert list(failed) == ["single-cross-0001"]
    assert "cannot be read" in failed["single-cross-0001"]
    assert run_bench(model, bench, tmp_path / "out", "--max-failed", 1) == 0


@torch.no_grad()
def test_windows_that_disagree_are_blended_not_cut():
    """Denoise with a model that predicts different latents in each window."""
    from fantasyportrait.diffusion.flow_matching import GuidanceBranch, compute_sigmas
    from fantasyportrait.model.motion_tokens import MotionTokens

    windows = split_windows(16, 10, 4)
    conditioning = denoise.Conditioning({"positive": torch.zeros(1)}, torch.zeros(1), torch.zeros(1, 20, 10, 2, 2))
    calls = iter([0.0, 8.0] * 3)

    def alternating(latents, timestep, *_args):
        return (latents[:, :16] - next(calls)) / (timestep / 1000)

    out = denoise.denoise(
        alternating,
        torch.zeros(1, 16, 16, 2, 2),
        conditioning,
        sigmas=compute_sigmas(3),
        branches=[GuidanceBranch("positive", False, 1.0)],
        windows=windows,
        motions=[MotionTokens([])] * 2,
    )
    along = out[0, 0, :, 0, 0]
    assert along[:6].eq(0).all()
    assert along[10:].eq(8).all()
    assert_close(along[6:10], [0, 2, 4, 6])
