"""The user's own masks: what is read and refused, and how they become regions of the latent grid."""

import numpy as np
import pytest
import torch

from exprbench.core.errors import UserError
from exprbench.media import write_image, write_video
from fantasyportrait.cli import main
from fantasyportrait.diffusion.face_masks import coverage_labels
from fantasyportrait.diffusion.windows import Window, split_windows
from fantasyportrait.inputs import attention_mask, compute_face_boxes, prepare_inputs
from fantasyportrait.portrait import choose_crop_resize
from fantasyportrait.settings import SamplingConfig
from fantasyportrait.user_masks import check_mask, check_mask_settings, cover_tokens, list_mask_files, mask_boxes
from tests.people import clip, person, still

SIZE = (160, 96)


def mask(x0, x1, y0=0, y1=96, size=SIZE):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[y0:y1, x0:x1] = 255
    return image


@pytest.fixture
def files(tmp_path):
    """Write a portrait without a face, drivers of one and two people, and masks of two people."""
    still(tmp_path / "drawing.png")
    clip(tmp_path / "a.mp4", 9, person(9, x=0.4, seed=4))
    clip(tmp_path / "two.mp4", 9, person(9, x=0.3, seed=5), person(9, x=0.7, seed=6))
    write_image(tmp_path / "masks/1-left.png", mask(0, 64))
    write_image(tmp_path / "masks/2-right.png", mask(96, 160))
    return tmp_path


def inputs(files, *names, drivers=("two.mp4",), masks=None, **options):
    config = SamplingConfig(size="160x96", **options)
    paths = list_mask_files([files / "masks"]) if masks is None else [files / name for name in masks]
    return prepare_inputs(files / "drawing.png", [files / d for d in drivers], config, masks=paths), config


def test_a_folder_is_read_in_the_order_of_its_names(files):
    assert [path.name for path in list_mask_files([files / "masks"])] == ["1-left.png", "2-right.png"]
    assert list_mask_files([files / "masks/2-right.png", files / "masks"])[0].name == "2-right.png"
    assert list_mask_files([]) == []
    (files / "empty").mkdir()
    for name in ("empty", "none.png"):
        with pytest.raises(UserError, match=f"--masks is .*{name}; expected an image or video for each person"):
            list_mask_files([files / name])


def test_masks_replace_the_faces_found_and_each_region_has_its_driver(files):
    given, config = inputs(files, background="none")
    assert given.assignment == ((0, 0), (0, 1))
    np.testing.assert_array_equal(given.boxes, [[0, 0, 64, 96], [96, 0, 160, 96]])
    assert compute_face_boxes(given, {}, config) is None
    found = attention_mask(given, None, Window(0, 3, torch.ones(3)), config).view(3, 6, 10, 2)
    expected = torch.zeros(6, 10, 2, dtype=torch.bool)
    expected[:, :4, 0] = expected[:, 6:, 1] = True
    assert torch.equal(found, expected.expand(3, -1, -1, -1))
    everyone = attention_mask(given, None, Window(0, 3, torch.ones(3)), SamplingConfig()).view(3, 6, 10, 2)
    assert everyone[:, :, 4:6].all()  # the background


def test_a_face_at_rest_keeps_its_region(files):
    config = SamplingConfig(size="160x96", background="none")
    given = prepare_inputs(
        files / "drawing.png", [files / "a.mp4"], config, assignment=(None, (0, 0)),
        masks=list_mask_files([files / "masks"]),
    )  # fmt: skip
    found = attention_mask(given, None, Window(0, 3, torch.ones(3)), config).view(3, 6, 10, 1)
    assert found[0, :, :, 0].nonzero()[:, 1].unique().tolist() == [6, 7, 8, 9]


def test_a_video_moves_its_region(files):
    frames = [mask(0, 16)] + [mask(16 * i, 16 * i + 16) for i in (2, 2, 2, 2, 4, 4, 4, 6)]
    write_video(files / "moving.mp4", frames, crf=8)
    given, config = inputs(files, masks=["moving.mp4", "masks/2-right.png"], background="none")
    assert given.masks.shape == (2, 9, 6, 10)
    found = attention_mask(given, None, Window(0, 3, torch.ones(3)), config).view(3, 6, 10, 2)
    columns = [frame[..., 0].nonzero()[:, 1].unique().tolist() for frame in found]
    assert columns == [[0], [2], [4]]  # one frame, then the mean of four
    later = attention_mask(given, None, split_windows(3, 2, 1)[1], config).view(2, 6, 10, 2)  # frames 4 to 8
    assert [frame[..., 0].nonzero()[:, 1].unique().tolist() for frame in later] == [[2], [4]]


def test_masks_are_cropped_and_resized_with_the_portrait():
    transform = choose_crop_resize((160, 96), size=(48, 48))  # the middle 96 x 96
    covered = cover_tokens([np.stack([mask(32, 64)[..., 0] > 0])], transform, 9)
    assert covered.shape == (1, 1, 3, 3)
    np.testing.assert_allclose(covered[0, 0], [[1, 0, 0]] * 3, atol=1e-6)
    np.testing.assert_allclose(mask_boxes([np.stack([mask(32, 64)[..., 0] > 0])]), [[0.2, 0, 0.4, 1]])


def test_a_token_belongs_to_the_mask_that_covers_most_of_it():
    coverage = np.zeros((3, 1, 1, 4), np.float32)
    coverage[0, 0, 0] = [0.9, 0.4, 0.5, 0.0]
    coverage[1, 0, 0] = [0.8, 0.6, 0.0, 0.0]
    coverage[2, 0, 0] = [0.0, 0.0, 0.1, 0.2]  # too small: the token it covers most
    assert coverage_labels(coverage, 2).tolist() == [[[1, 2, 1, 3]]] * 2


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (mask(0, 64, size=(96, 160)), "is 96x160; expected 160x96, the size of the portrait"),
        (mask(0, 0), "has no value above 0; expected 255 where the person is"),
        (mask(0, 64) // 255, "has no value above 1; expected 255"),
        (mask(0, 64) // 2, "is grey in 40% of its pixels; expected black, and white for the person"),
        (np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8), "is grey in"),
    ],
)
def test_what_is_no_mask_of_this_portrait_is_refused(image, message):
    with pytest.raises(UserError, match=f"the mask m.png {message}"):
        check_mask("m.png", [image], SIZE)
    assert check_mask("m.png", [mask(0, 64)[..., 0]], SIZE).sum() == 64 * 96


def test_soft_edges_are_allowed():
    soft = mask(0, 64)
    soft[:, 64:68] = 120
    assert check_mask("m.png", [soft], SIZE).sum() == 64 * 96


def test_a_video_that_is_too_short_is_refused(files):
    write_video(files / "short.mp4", [mask(0, 64)] * 5, crf=8)
    with pytest.raises(UserError, match="mask 0 of --masks has 5 frames; expected 9, as the video has, or 1"):
        inputs(files, masks=["short.mp4", "masks/2-right.png"])


def test_the_numbers_of_masks_and_faces_match(files):
    with pytest.raises(UserError, match="--masks has 2 masks, the drivers have 1 faces; give a mask for each"):
        inputs(files, drivers=["a.mp4"])


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (2, {"mask": "none"}, "--mask none turns it off"),
        (2, {"mask_motion": "per-frame"}, "give videos for regions that move"),
        (1, {}, "has an effect only with --background none"),
        (1, {"background": "nearest"}, "has an effect only with --background none"),
    ],
)
def test_settings_that_would_ignore_masks_are_refused(count, options, message):
    with pytest.raises(UserError, match=message):
        check_mask_settings(count, SamplingConfig(**options))
    check_mask_settings(2, SamplingConfig())
    check_mask_settings(1, SamplingConfig(background="none"))


def test_mistakes_are_one_line(files, capsys):
    words = ["sample", "--model", "m", "--portrait", str(files / "drawing.png"), "--driver", str(files / "a.mp4")]
    words += ["--out", str(files / "o.mp4")]
    for more, message in (
        (["--masks", str(files / "none.png")], "expected an image or video for each person"),
        (["--masks", str(files / "masks"), "--mask", "none"], "--mask none turns it off"),
        (["--masks", str(files / "masks/1-left.png")], "only with --background none"),
    ):
        assert main([*words, *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
