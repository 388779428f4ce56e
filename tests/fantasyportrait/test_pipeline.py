"""What the pipeline passes to each part: prompts, strengths, windows, rates, records. Parts that compute are stubs."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from exprbench.core.errors import ItemError
from fantasyportrait import pipeline as pipeline_module
from fantasyportrait.checkpoints.layout import PROMPT_FILE
from fantasyportrait.checkpoints.tensors import save_tensors
from fantasyportrait.diffusion.flow_matching import initial_noise
from fantasyportrait.diffusion.windows import split_windows
from fantasyportrait.pipeline import Pipeline
from fantasyportrait.runtime.memory import MemoryPlan
from fantasyportrait.runtime.parallel import Ranks
from fantasyportrait.settings import RuntimeConfig, SamplingConfig
from tests.fantasyportrait.synthetic import Folder, inputs, motion

CPU = torch.device("cpu")
PLAN = MemoryPlan(weights="bf16", offload="none", tile=64, keys="device", estimate_gib=0)


@pytest.fixture
def pipeline(tmp_path):
    made = Pipeline(Folder(tmp_path), RuntimeConfig(device="cpu"))
    made.__dict__.update(
        vae=torch.nn.Linear(1, 1), image_encoder=torch.nn.Linear(1, 1), adapter="an adapter",
        expression_encoder="an encoder", ranks=Ranks(),
    )  # fmt: skip
    return made


@pytest.fixture
def calls(monkeypatch):
    """What the parts were called with, by their names; each gives the value noted in `answers`."""
    found = {}

    def stub(name, answer=None):
        def call(*args, **options):
            found.setdefault(name, []).append((args, options))
            return answer(*args) if callable(answer) else answer

        monkeypatch.setattr(pipeline_module, name, call)

    found["stub"] = stub
    return found


def test_every_driver_in_use_is_read_with_the_encoders_hash_and_the_clips_rate(pipeline, calls, tmp_path, capsys):
    calls["stub"]("extract_motion", [motion(0, filled=3), motion(1, filled=2)])
    given = inputs(tmp_path, assignment=((1, 1), None, (2, 0)))
    found = pipeline.extract_motions(given)
    assert list(found) == [1, 2]
    options = {"encoder": "an encoder", "encoder_name": "hash of the encoder", "fps": 12.5}
    assert calls["extract_motion"] == [((tmp_path / f"{name}.mp4", []), options) for name in "bc"]
    assert capsys.readouterr().err.splitlines() == [  # of the faces in use
        "b.mp4: face 1 was lost in 2 frames, which were interpolated",
        "c.mp4: face 0 was lost in 3 frames, which were interpolated",
    ]


@pytest.mark.parametrize(("text_guidance", "wanted"), [(1.0, ["positive"]), (2.0, ["negative", "positive"])])
def test_the_backbone_is_given_each_prompt_it_needs(pipeline, calls, tmp_path, text_guidance, wanted):
    calls["stub"]("encode_image", "an image")
    calls["stub"]("image_condition", "a portrait")
    pipeline._prompts.update({"good": "+", "bad": "-"})
    options = SamplingConfig(prompt="good", negative_prompt="bad", text_guidance=text_guidance)
    conditions = pipeline.encode_conditioning(inputs(tmp_path), options, 3, 64)
    assert (list(conditions.prompts), conditions.image, conditions.portrait) == (wanted, "an image", "a portrait")
    assert conditions.prompts["positive"] == "+"
    assert conditions.prompts.get("negative", "-") == "-"
    assert calls["image_condition"][0][0][2] == 3
    assert calls["image_condition"][0][1] == {"tile": 64}


@pytest.mark.parametrize(("keys", "place"), [("device", CPU), ("host", "cpu"), ("recompute", "recompute")])
def test_motion_of_every_window_is_that_of_its_own_frames_and_drivers(
    pipeline, calls, tmp_path, monkeypatch, keys, place
):
    calls["stub"]("compute_motion_tokens", "a motion")
    calls["stub"]("compute_face_boxes", "faces")
    calls["stub"]("attention_mask", "a mask")
    monkeypatch.setattr(pipeline_module, "DTYPES", {"bf16": torch.bfloat16})
    given, windows = inputs(tmp_path, num_frames=20), split_windows(6, 3, 1)
    found = {1: [motion(5, 20), motion(1, 20)], 2: [motion(2, 20), motion(7, 20)]}
    options = SamplingConfig(mouth=0.5, eyes=2.0, strength=0.8)
    plan = replace(PLAN, keys=keys)
    assert pipeline.compute_motion_tokens(given, options, plan, windows, found) == ["a motion"] * len(windows)
    for window, ((adapter, features), settings) in zip(windows, calls["compute_motion_tokens"], strict=True):
        assert adapter == "an adapter"
        frames = np.arange(4 * window.start, 4 * window.stop - 3)
        expected = np.stack([value + np.minimum(frames, 19) / 100 for value in (1, 2)])  # face 1 of 1, face 0 of 2
        np.testing.assert_allclose(features[..., 0], expected, rtol=1e-6)
        strengths = {"head": 1.0, "eyes": 2.0, "emotion": 1.0, "mouth": 0.5}
        assert settings == {"mask": "a mask", "strengths": [strengths] * 2, "strength": 0.8, "device": CPU,
                            "dtype": torch.bfloat16, "keep_on": place}  # fmt: skip
    assert [args[2] for args, _ in calls["attention_mask"]] == windows


@pytest.fixture
def sampled(pipeline, calls, tmp_path, monkeypatch):
    """`sampled(options)`: the frames of a video whose latents are made up, and what `denoise` was called with."""
    pipeline._plan = PLAN
    for name in ("extract_motions", "compute_motion_tokens"):
        monkeypatch.setattr(pipeline, name, lambda *_, name=name: name)
    conditions = SimpleNamespace(to=lambda device, dtype: ("moved", device, dtype))
    monkeypatch.setattr(
        pipeline,
        "encode_conditioning",
        lambda inputs, options, num_latent_frames, tile: (
            calls.update(encode_conditioning=(num_latent_frames, tile)) or conditions
        ),
    )
    monkeypatch.setattr(pipeline, "get_backbone", lambda workload: ("a backbone", workload))
    calls["stub"]("estimate_workload", "a workload")
    calls["stub"]("decode", lambda vae, latents, **_: iter([np.full((64, 96, 3), i, np.uint8) for i in range(9)]))

    def run(options=None, latents=None, **more):
        calls["stub"]("denoise", torch.zeros(1, 16, 3, 8, 12) if latents is None else latents)
        frames = list(pipeline.sample(inputs(tmp_path, num_frames=7), options or SamplingConfig(), **more))
        return frames, *calls["denoise"][-1]

    return run


def test_noise_schedule_and_branches_are_those_asked_for(sampled, calls):
    _, (engine, noise, conditions), options = sampled(SamplingConfig(seed=5, steps=4, shift=3.0, text_guidance=2.0))
    assert engine == ("a backbone", "a workload")
    assert torch.equal(noise, initial_noise((1, 16, 3, 8, 12), 5))
    assert conditions == ("moved", CPU, torch.bfloat16)
    assert torch.equal(options["sigmas"], pipeline_module.compute_sigmas(4, 3.0))
    assert [(b.prompt, b.expression) for b in options["branches"]] == [
        ("positive", True), ("positive", False), ("negative", False)]  # fmt: skip
    assert [(w.start, w.stop) for w in options["windows"]] == [(0, 3)]
    assert calls["encode_conditioning"] == (3, 64)


def test_frames_beyond_the_drivers_are_left_out_and_all_come_out_in_the_size_asked_for(sampled):
    frames, *_ = sampled()
    assert [frame[0, 0, 0] for frame in frames] == list(range(7))
    assert {frame.shape for frame in frames} == {(60, 90, 3)}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_value_that_is_no_number_is_an_error(sampled, value):
    latents = torch.zeros(1, 16, 3, 8, 12)
    latents[0, 3, 1, 2, 5] = value
    with pytest.raises(ItemError, match="not_finite"):
        sampled(latents=latents)


def test_a_helping_process_decodes_and_shows_nothing(pipeline, sampled, calls, tmp_path):
    pipeline.__dict__["ranks"] = Ranks(branch=1, num_branches=2)
    frames, _, options = sampled(preview=tmp_path)
    assert frames == []
    assert options["on_step"] is None
    assert options["progress"] is iter
    assert "decode" not in calls


@pytest.mark.parametrize(
    ("num_steps", "shown"), [(3, [1, 2, 3]), (25, [*range(1, 26, 2)]), (30, [*range(1, 31, 3), 30]), (4, [1, 2, 3, 4])]
)
def test_about_ten_previews_a_run_and_always_the_last(pipeline, calls, tmp_path, num_steps, shown):
    calls["stub"]("decode", lambda vae, latents, **_: iter([np.full((8, 8, 3), int(latents.mean()), np.uint8)]))
    calls["stub"]("write_image")
    show = pipeline._preview_writer(tmp_path, num_steps, 64)
    latents = torch.arange(5.0).view(1, 1, 5, 1, 1)
    for step in range(num_steps):
        show(step, latents)
    names = [args[0].name for args, _ in calls["write_image"]]
    assert names == [f"step-{number:03d}.png" for number in shown]
    assert calls["write_image"][0][0][1][0, ::8, 0].tolist() == [0, 2, 4]  # first, middle and last


def test_a_video_is_written_with_its_rate_record_and_sound(pipeline, calls, tmp_path, monkeypatch):
    monkeypatch.setattr(
        pipeline, "sample", lambda inputs, options, preview: iter([np.zeros((60, 90, 3), np.uint8)] * 3)
    )
    calls["stub"]("write_video", lambda out, frames, **_: len(list(frames)))
    calls["stub"]("build_generation_metadata", lambda record: record)
    calls["stub"]("add_watermark", lambda frames: [*frames, "marked"])
    options = SamplingConfig(seed=9, steps=4)
    assert pipeline.generate_video(inputs(tmp_path), options, tmp_path / "o.mp4") == 3
    ((args, plain),) = calls["write_video"]
    record = {"checkpoint": "model sha256:12", "seed": 9, "options": options.as_dict()}
    assert args[0] == tmp_path / "o.mp4"
    assert plain == {"fps": 12.5, "metadata": record, "audio": None}
    pipeline.loras = ["a:0.5"]
    assert pipeline.generate_video(inputs(tmp_path), options, tmp_path / "o.mp4", audio=True, watermark=True) == 4
    _, more = calls["write_video"][1]
    assert more["metadata"]["loras"] == ["a:0.5"]
    assert more["audio"] == tmp_path / "b.mp4"  # the first driver in use


def test_the_empty_prompt_is_read_from_the_folder_and_others_are_embedded_once(pipeline, calls, tmp_path):
    save_tensors(tmp_path / PROMPT_FILE, {"empty": torch.full((1,), 7.0)})
    calls["stub"]("load_text_encoder", lambda *_: torch.nn.Linear(1, 1))
    calls["stub"]("tokenize_prompt", [5, 1])
    calls["stub"]("encode_prompt", lambda encoder, ids: torch.tensor(ids))
    assert pipeline.encode_prompt("").item() == pipeline.encode_prompt(" ").item() == 7
    for _ in range(2):
        assert pipeline.encode_prompt("a man").tolist() == [5, 1]
    assert [args for args, _ in calls["tokenize_prompt"]] == [("a man", "a tokenizer")]
    assert len(calls["load_text_encoder"]) == 1


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        ({}, []),
        ({"negative_prompt": "bad"}, []),  # not used without text guidance
        ({"prompt": "good"}, ["good"]),
        ({"prompt": "good", "text_guidance": 2.0}, ["good", ""]),
        ({"negative_prompt": "bad", "text_guidance": 2.0}, ["", "bad"]),
    ],
)
def test_prompts_are_checked_before_anything_is_read(pipeline, calls, tmp_path, given, checked):
    save_tensors(tmp_path / PROMPT_FILE, {"empty": torch.zeros(1)})
    calls["stub"]("tokenize_prompt", [1])
    pipeline.check(SamplingConfig(**given))
    assert [args[0] for args, _ in calls.get("tokenize_prompt", [])] == checked
    assert pipeline.folder.asked == (["text encoder"] if checked else [])


def test_without_the_embedding_of_the_empty_prompt_the_text_encoder_is_needed(pipeline, calls):
    calls["stub"]("tokenize_prompt", [1])
    pipeline.check(SamplingConfig())
    assert pipeline.folder.asked == ["text encoder"]


@pytest.mark.parametrize(("room", "moved"), [(1.2, False), (1.21, True)])
def test_a_module_is_moved_to_the_gpu_if_a_fifth_is_left_and_moved_back(pipeline, monkeypatch, room, moved):
    module, moves = torch.nn.Linear(2, 2), []
    size = sum(p.nbytes for p in module.parameters()) / 2**30
    monkeypatch.setattr(module, "to", moves.append)
    monkeypatch.setattr(pipeline_module, "available_vram_gib", lambda *_: room * size)
    with pytest.raises(ZeroDivisionError), pipeline._on_gpu(module):
        raise ZeroDivisionError
    assert moves == ([CPU] if moved else []) + ["cpu"]


def test_a_cpu_computes_in_single_precision_with_everything_in_its_memory_unless_asked(pipeline, calls):
    calls["stub"]("choose_plan", "a plan")
    assert pipeline.plan_memory("a workload") == pipeline.plan_memory("another") == "a plan"
    ((args, options),) = calls["choose_plan"]  # decided once
    assert args == ("a workload",)
    assert (options["weights"], options["offload"], options["vram_gib"]) == ("fp32", "none", float("inf"))
    asked = Pipeline(pipeline.folder, RuntimeConfig(device="cpu", weights="bf16", offload="leaf"))
    asked.plan_memory("a workload")
    assert (calls["choose_plan"][1][1]["weights"], calls["choose_plan"][1][1]["offload"]) == ("bf16", "leaf")


def test_the_engine_is_loaded_once_with_its_kernel_and_its_share_of_the_tokens(pipeline, calls):
    pipeline._plan, pipeline.runtime, pipeline.loras = (
        PLAN,
        RuntimeConfig(device="cpu", attention="native"),
        ["a"],
    )
    calls["stub"]("load_backbone", "a backbone")
    calls["stub"]("choose_attention")
    calls["stub"]("shard_tokens")
    workload = SimpleNamespace(num_tokens=45)
    assert pipeline.get_backbone(workload) == pipeline.get_backbone(workload) == "a backbone"
    assert [args for args, _ in calls["load_backbone"]] == [(pipeline.folder.base, PLAN, pipeline.runtime, CPU, ["a"])]
    assert [args for args, _ in calls["choose_attention"]] == [("a backbone", "native", CPU, 45)]
    assert [args for args, _ in calls["shard_tokens"]] == [("a backbone", None)]
