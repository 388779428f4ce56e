"""Step cache, motion in a range of steps and anchors, from the command line to the video's metadata."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from exprbench.core.errors import UserError
from exprbench.core.files import sha256_path, write_json
from fantasyportrait import sampling
from fantasyportrait.checkpoints.cache_ratios import RATIOS_FILE, load_ratios, save_ratios
from fantasyportrait.checkpoints.convert import convert
from fantasyportrait.cli import main
from fantasyportrait.expression import driver as driver_module
from fantasyportrait.inputs import prepare_inputs
from fantasyportrait.pipeline import load_pipeline
from fantasyportrait.runtime.parallel import Ranks
from fantasyportrait.sampling import sample_benchmark
from fantasyportrait.settings import RuntimeConfig, SamplingConfig
from fantasyportrait.step_skipping import check_one_process, evaluated_branches
from fantasyportrait.watermark import read_generation_metadata
from tests.people import clip, person, still


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write a tiny model, a portrait and a driver."""
    out = tmp_path_factory.mktemp("tiny")
    convert(out=out / "model", random="tiny")
    still(out / "one.png", person(1))
    clip(out / "a.mp4", 9, person(9, x=0.4, seed=3))
    return out


@pytest.fixture(scope="module")
def pipeline(folder):
    return load_pipeline(folder / "model", RuntimeConfig(device="cpu"))


@pytest.fixture(scope="module")
def run(folder, pipeline):
    """Return a function that samples with the given settings: 9 frames of 32 x 32, six steps."""

    def encode(_encoder, crops):
        small = crops[:, ::16, ::16].reshape(len(crops), -1)[:, :554] / 127.5 - 1
        return np.pad(small, ((0, 0), (0, 554 - small.shape[1]))).astype(np.float32)

    inputs = prepare_inputs(folder / "one.png", [folder / "a.mp4"], SamplingConfig(max_side=32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver_module, "encode_crops", encode)
        motions = pipeline.extract_motions(inputs)

        def sample(**options):
            config = SamplingConfig(**{"steps": 6, "max_side": 32, **options})
            latents = pipeline.denoise_latents(inputs, config, motions=motions)
            return np.stack(list(pipeline.decode_latents(latents, inputs, config)))

        yield sample


@pytest.fixture(scope="module")
def plain(run):
    return run()


def test_ratios_are_measured_once_and_then_steps_are_skipped(run, plain, folder, capsys):
    np.testing.assert_array_equal(run(cache="calibrate"), plain)
    path = folder / "model" / RATIOS_FILE
    record = json.loads(path.read_text())
    assert {name: len(ratios) for name, ratios in record["ratios"].items()} == {"positive": 6, "positive+expression": 6}
    quick = run(cache="mag", cache_threshold=10, cache_max_skip_steps=2)
    shown = capsys.readouterr().err
    assert f"the ratios for --cache mag are in {path}" in shown
    assert "--cache mag skipped 8 of 12 evaluations of the backbone" in shown  # steps 1, 2, 4 and 5 of two branches
    assert not np.array_equal(quick, plain)
    np.testing.assert_array_equal(run(cache="mag", cache_retention_ratio=1), plain)


def test_a_video_names_its_cache(pipeline, folder, tmp_path, monkeypatch):
    save_ratios(folder / "model", {"positive": [1.0], "positive+expression": [1.0]}, {})
    monkeypatch.setattr(pipeline, "sample", lambda *_, **__: iter([np.zeros((48, 64, 3), np.uint8)]))
    config = SamplingConfig(cache="mag", cache_threshold=0.1, motion_to_step=9)
    pipeline.generate_video(SimpleNamespace(fps=25), config, tmp_path / "o.mp4")
    metadata = read_generation_metadata(tmp_path / "o.mp4")
    assert {name: metadata["options"][name] for name in ("cache", "cache_threshold", "motion_to_step", "anchor")} == {
        "cache": "mag", "cache_threshold": 0.1, "motion_to_step": 9, "anchor": "none"}  # fmt: skip
    assert metadata["cache_ratios"] == sha256_path(folder / "model" / RATIOS_FILE)[:12]


def test_without_ratios_for_this_model_the_cache_is_refused_before_any_work(tmp_path):
    conditions = {"checkpoint": "m", "loras": [], "shift": 5.0}
    with pytest.raises(UserError, match=r"needs the ratios of .*; measure them once with --cache calibrate"):
        load_ratios(tmp_path, ["positive"], conditions)
    save_ratios(tmp_path, {"positive": [1.0, 0.9]}, conditions)
    assert load_ratios(tmp_path, ["positive"], conditions) == {"positive": [1.0, 0.9]}
    with pytest.raises(UserError, match=r"were measured with shift 5\.0, not 3\.0; measure them again"):
        load_ratios(tmp_path, ["positive"], {**conditions, "shift": 3.0})
    with pytest.raises(UserError, match=r"were measured with loras \[\], not \['a:1'\]"):
        load_ratios(tmp_path, ["positive"], {**conditions, "loras": ["a:1"]})
    with pytest.raises(UserError, match="no ratios of the guidance branch 'negative'"):
        load_ratios(tmp_path, ["positive", "negative"], conditions)


def test_branches_that_need_ratios():
    assert evaluated_branches(SamplingConfig()) == ["positive", "positive+expression"]
    assert evaluated_branches(SamplingConfig(expression_guidance=1)) == ["positive+expression"]
    assert evaluated_branches(SamplingConfig(expression_guidance=1, motion_to_step=9)) == [
        "positive", "positive+expression"]  # fmt: skip
    assert evaluated_branches(SamplingConfig(text_guidance=2)) == ["negative", "positive", "positive+expression"]
    assert evaluated_branches(SamplingConfig(text_guidance=4.5)) == ["negative", "positive+expression"]  # 0 of positive


def test_ratios_are_measured_by_one_process():
    check_one_process(SamplingConfig(cache="mag"), Ranks(num_branches=2))
    check_one_process(SamplingConfig(cache="calibrate"), Ranks())
    with pytest.raises(UserError, match="--cache calibrate needs one process"):
        check_one_process(SamplingConfig(cache="calibrate"), Ranks(num_branches=2))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--motion-from-step", 7], "--motion-from-step is 7; expected at most --steps, which is 6"),
        (["--motion-to-step", 7], "--motion-to-step is 7; expected at most --steps, which is 6"),
        (["--motion-from-step", 4, "--motion-to-step", 3], "--motion-to-step is 3; expected at least"),
        (["--motion-from-step", 0], "--motion-from-step is 0; expected 1 or more"),
        (["--cache-retention-ratio", 1.5], "--cache-retention-ratio is 1.5; expected 0 to 1"),
        (["--cache-threshold", -1], "--cache-threshold is -1.0; expected 0 or more"),
        (["--cache", "calibrate", "--motion-to-step", 3], "--cache calibrate measures every step with motion"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, flags, message):
    words = ["sample", "--model", "m", "--portrait", "p.png", "--driver", "d.mp4", "--out", str(tmp_path / "x.mp4")]
    assert main([*words, "--steps", "6", *map(str, flags)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_benchmark_does_not_measure_ratios(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling.Benchmark, "open", lambda path: SimpleNamespace(fps=25))
    with pytest.raises(UserError, match="--cache calibrate measures one video"):
        sample_benchmark(model="m", benchmark="b", out=tmp_path / "o", cache="calibrate")


def test_a_folder_of_a_version_with_fewer_options_is_continued(tmp_path):
    options = SamplingConfig(steps=4).as_dict()
    old = {name: value for name, value in options.items() if not name.startswith(("cache", "motion", "anchor"))}
    write_json(tmp_path / "run.json", {"options": old})
    sampling._check_same_run(tmp_path, {"options": options}, overwrite=False)
    with pytest.raises(UserError, match="cache 'off', not 'mag'"):
        sampling._check_same_run(tmp_path, {"options": {**options, "cache": "mag"}}, overwrite=False)


def test_motion_in_a_part_of_the_steps_is_neither_none_nor_all(run, plain):
    np.testing.assert_array_equal(run(motion_from_step=1, motion_to_step=6), plain)
    part = run(motion_to_step=3)
    assert not np.array_equal(part, plain)
    assert not np.array_equal(part, run(strength=0))


def test_anchors_change_later_windows_only(run):
    plain, colour, identity, both = (
        run(window=5, overlap=4, anchor=anchor) for anchor in ("none", "colour", "identity", "both")
    )
    np.testing.assert_array_equal(colour[:5], plain[:5])
    assert not np.array_equal(colour[5:], plain[5:])
    np.testing.assert_array_equal(both[:5], identity[:5])
    assert not np.array_equal(identity, plain)


def test_one_window_has_nothing_to_be_anchored_to(run, plain):
    np.testing.assert_array_equal(run(anchor="both"), plain)
