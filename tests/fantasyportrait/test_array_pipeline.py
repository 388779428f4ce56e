"""Arrays in, arrays out: the same frames as from files, the types of diffusers, callbacks, the example of the docs."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from exprbench.core.errors import UserError
from fantasyportrait import FantasyPortraitPipeline
from fantasyportrait.checkpoints.convert import convert
from fantasyportrait.expression import driver as driver_module
from fantasyportrait.frame_arrays import to_frames, to_masks, to_output
from fantasyportrait.inputs import prepare_inputs
from fantasyportrait.settings import RuntimeConfig, SamplingConfig
from tests.people import clip, people, person, still
from tests.videos import numbered

ROOT = Path(__file__).parents[2]
NUM_FRAMES = 5
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    convert(out=folder, random="tiny")
    return folder


@pytest.fixture(scope="module")
def pipe(model):
    return FantasyPortraitPipeline.from_pretrained(model, runtime=RuntimeConfig(device="cpu"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Replace the expression encoder by a fast function of the crops."""

    def encode(_encoder, crops):
        return np.resize(crops[:, ::16, ::16].reshape(len(crops), -1) / 127.5 - 1, (len(crops), 554)).astype(np.float32)

    monkeypatch.setattr(driver_module, "encode_crops", encode)


IMAGE = numbered(0)
DRIVER = np.stack([numbered(i) for i in range(NUM_FRAMES)])
FACES = {
    "image_tracks": people(1, person(1)),
    "driver_tracks": [people(NUM_FRAMES, person(NUM_FRAMES, x=0.4, seed=3))],
}


@pytest.fixture(scope="module")
def call(pipe):
    """Return a function that samples from arrays: five frames of 32 x 32, two steps."""

    def run(**options):
        return pipe(
            **{"image": IMAGE, "drivers": [DRIVER], "num_inference_steps": 2, "max_side": 32, **FACES, **options}
        )

    return run


def test_arrays_give_the_frames_that_files_give(pipe, call, tmp_path):
    portrait = still(tmp_path / "one.png", person(1))
    driver = clip(tmp_path / "a.mp4", NUM_FRAMES, person(NUM_FRAMES, x=0.4, seed=3))
    config = SamplingConfig(steps=2, max_side=32, seed=7)
    inputs = prepare_inputs(portrait, [driver], config)
    expected = np.stack(list(pipe.pipeline.sample(inputs, config)))
    from exprbench.media import read_clip

    out = call(drivers=[read_clip(driver)[0]], seed=7)  # as decoded
    assert out.frames.shape == (1, NUM_FRAMES, *expected.shape[1:])
    np.testing.assert_array_equal((out.frames[0] * 255).round().astype(np.uint8), expected)


def test_outputs_have_the_types_of_diffusers(call):
    array, tensor, images, latents = (call(output_type=kind).frames for kind in ("np", "pt", "pil", "latent"))
    assert (array.dtype, array.min() >= 0, array.max() <= 1) == (np.float32, True, True)
    np.testing.assert_array_equal(tensor.permute(0, 1, 3, 4, 2).numpy(), array)
    np.testing.assert_array_equal(np.stack([np.asarray(i) for i in images[0]]), (array[0] * 255).round())
    assert latents.shape == (1, 16, 2, array.shape[2] // 8, array.shape[3] // 8)
    (frames,) = call(return_dict=False)
    np.testing.assert_array_equal(frames, array)


def test_noise_is_that_of_the_seed_the_generator_or_the_caller(call):
    def latents(**options):
        return call(output_type="latent", **options).frames

    seeded = latents(seed=3)
    assert torch.equal(latents(generator=torch.Generator().manual_seed(3)), seeded)
    noise = torch.randn(seeded.shape, generator=torch.Generator().manual_seed(3))
    assert torch.equal(latents(latents=noise), seeded)
    assert not torch.equal(latents(), seeded)
    with pytest.raises(UserError, match=r"latents is \(1, 16, 9, 8, 8\); expected \(1, 16, 2, "):
        latents(latents=torch.zeros(1, 16, 9, 8, 8))


def test_the_callback_sees_every_step_and_can_change_the_latents(pipe, call):
    seen = []

    def look(owner, step, timestep, tensors):
        seen.append((owner is pipe, step, timestep.item(), tensors["latents"].shape))
        return {}

    plain = call(output_type="latent", callback_on_step_end=look).frames
    assert seen == [(True, 0, 1000.0, plain.shape), (True, 1, pytest.approx(833.33, abs=0.01), plain.shape)]
    changed = call(
        output_type="latent",
        callback_on_step_end=lambda owner, step, timestep, tensors: {"latents": torch.full_like(plain, step)},
    )
    assert torch.equal(changed.frames, torch.ones_like(plain))
    with pytest.raises(UserError, match=r"has \['prompt_embeds'\]; expected \['latents'\]"):
        call(callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"])


def test_inputs_can_be_pil_images_tensors_or_floats(call):
    expected = call().frames
    images = [Image.fromarray(frame) for frame in DRIVER]
    tensor = torch.from_numpy(DRIVER).permute(0, 3, 1, 2)
    pairs = ((Image.fromarray(IMAGE), images), (torch.from_numpy(IMAGE).permute(2, 0, 1), tensor / 255))
    for image, driver in (*pairs, (IMAGE / 255, DRIVER / 255)):
        np.testing.assert_array_equal(to_frames([image], "image")[0], IMAGE)
        np.testing.assert_array_equal(to_frames(driver, "driver"), DRIVER)
    np.testing.assert_array_equal(call(image=pairs[0][0], drivers=[tensor]).frames, expected)


def test_size_length_masks_and_settings(call):
    assert call(width=48, height=32, num_frames=3).frames.shape == (1, 3, 32, 48, 3)
    mask = np.zeros(IMAGE.shape[:2], bool)
    mask[:, : mask.shape[1] // 2] = True
    masked = call(masks=[mask], background="none").frames
    assert not np.array_equal(masked, call().frames)
    assert not np.array_equal(call(mouth=0.0).frames, call().frames)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_type": "gif"}, "output_type is 'gif'; expected one of np, pt, pil, latent"),
        ({"width": 48}, "only one of height and width is given"),
        ({"steps": 3}, "steps is an option of the command line; expected num_inference_steps here"),
        ({"stepz": 3}, "unknown option 'stepz'"),
        ({"drivers": [DRIVER * 1.0]}, "driver 0 has values from 0 to"),
        ({"drivers": [[]]}, "driver 0 has no frames"),
        ({"drivers": [DRIVER[..., :2]]}, r"driver 0 has a frame of shape \(.*, 2\)"),
        ({"drivers": [DRIVER.astype(np.int64)]}, "driver 0 has values of type int64"),
        ({"image": IMAGE[..., 0]}, "image has a frame of shape"),
        ({"drivers": [np.concatenate([DRIVER, DRIVER])]}, r"driver_tracks\[0\] has 5 frames; the driver has 10"),
        ({"masks": [np.ones((3, 4), bool)], "background": "none"}, "the mask 0 is 4x3; expected"),
        ({"driver_tracks": [people(5)]}, "no face is seen in half of the frames of driver 0"),
    ],
)
def test_wrong_arguments_are_one_line(call, options, message):
    with pytest.raises(UserError, match=message):
        call(**options)


def test_conversions():
    video = RNG.integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_frames(video / np.float32(255), "x"), video)
    with pytest.raises(UserError, match="x has frames of different sizes"):
        to_frames([video[0], video[0, :2]], "x")
    with pytest.raises(UserError, match="x has values from nan to nan"):
        to_frames(np.full((1, 4, 6, 3), np.nan), "x")
    (mask,) = to_masks(np.eye(4, dtype=bool), "m")
    np.testing.assert_array_equal(mask, np.eye(4) * 255)
    assert len(to_masks(torch.ones(3, 4, 4), "m")) == 3
    with pytest.raises(UserError, match=r"m has shape \(1, 2, 3, 4\)"):
        to_masks(np.zeros((1, 2, 3, 4), bool), "m")
    assert to_output([], "np").shape[:2] == (1, 0)  # of a process that only shares the computation
    assert to_output([], "pil") == [[]]


def test_the_example_of_the_docs_runs(model, tmp_path, monkeypatch):
    text = (ROOT / "docs/fantasyportrait.md").read_text(encoding="utf-8")
    section = text.partition("### Arrays instead of files")[2]
    (code,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").symlink_to(model)
    names = {}
    exec(compile(code, "docs/fantasyportrait.md", "exec"), names)
    assert names["frames"].shape == (9, 64, 64, 3)
    assert (tmp_path / "me.mp4").stat().st_size > 100
