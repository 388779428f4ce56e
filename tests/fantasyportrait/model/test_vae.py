import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan

from fantasyportrait.model.vae import (
    _split_tiles,
    _to_frames,
    decode,
    encode_video,
    image_condition,
    image_to_tensor,
    latent_statistics,
)
from tests.closeness import assert_close


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return AutoencoderKLWan(base_dim=4).eval()


def latents(num_latent_frames=3, height=8, width=12):
    return torch.randn(1, 16, num_latent_frames, height, width, generator=torch.Generator().manual_seed(1))


def assert_same_pictures(found, expected):
    """Require that no pixel differs by more than one step of 256: a value may be rounded to either of two."""
    np.testing.assert_allclose(np.asarray(found, int), np.asarray(expected, int), rtol=0, atol=1)


@torch.no_grad()
def test_frames_one_by_one_are_the_whole_clip(vae):
    given = latents()
    mean, std = latent_statistics(vae, given)
    whole = ((vae.decode(given * std + mean).sample[0] + 1) * 127.5).round().byte().permute(1, 2, 3, 0)
    frames = list(decode(vae, given))
    assert len(frames) == 9
    assert_same_pictures(frames, whole)


def test_decoding_does_not_depend_on_later_latents(vae):
    frames = decode(vae, latents(4))
    first = [next(frames) for _ in range(5)]
    assert_same_pictures(first, list(decode(vae, latents(4)[:, :, :2])))


@pytest.mark.parametrize("scale", [1, 8])
@pytest.mark.parametrize(("height", "width", "tile"), [(8, 12, 64), (20, 9, 64), (12, 30, 96), (8, 8, None)])
def test_weights_of_tiles_add_up_to_one(height, width, tile, scale):
    total = torch.zeros(height * scale, width * scale)
    for t in _split_tiles(height, width, tile, torch.device("cpu"), scale):
        rows, columns = t.pixels() if scale == 8 else (t.rows, t.columns)
        assert (t.weights >= 0).all()
        total[rows, columns] += t.weights
    torch.testing.assert_close(total, torch.ones_like(total))


class Enlarger(torch.nn.Module):
    """Decoder without cache or receptive field, whose tiles must fit together without a seam."""

    def forward(self, latent, feat_cache, feat_idx, first_chunk):
        frames = 1 if first_chunk else 4
        return latent[:, :3].repeat_interleave(8, 3).repeat_interleave(8, 4).repeat_interleave(frames, 2) / 9


def test_tiles_of_a_local_decoder_leave_no_seam(vae):
    vae = copy.deepcopy(vae)
    vae.decoder, vae.post_quant_conv = Enlarger(), torch.nn.Identity()
    given = latents(2, 20, 14)
    assert_same_pictures(list(decode(vae, given, tile=64)), list(decode(vae, given)))


def test_tiles_have_their_own_cache(vae):
    given = latents(3, 8, 24)
    frames = np.stack(list(decode(vae, given, tile=64)))
    left = np.stack(list(decode(vae, given[..., :8])))
    assert_same_pictures(frames[:, :, :8], left[:, :, :8])  # beyond the reach of the next tile


@torch.no_grad()
def test_the_condition_has_the_mask_and_the_latents_of_the_portrait(vae):
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    condition = image_condition(vae, image, 3)
    assert condition.shape == (1, 20, 3, 8, 12)
    assert condition[:, :4, 0].eq(1).all()
    assert not condition[:, :4, 1:].any()
    clip = torch.zeros(1, 3, 9, 64, 96)
    clip[0, :, 0] = torch.from_numpy(image).permute(2, 0, 1) / 127.5 - 1
    mean, std = latent_statistics(vae, clip)
    assert_close(condition[:, 4:], (vae.encode(clip).latent_dist.mode() - mean) / std)


class Shrinker:
    """Encoder without receptive field: every latent is the mean of its pixels."""

    def __init__(self, clip):
        self.latent_dist = self
        self.means = torch.nn.functional.avg_pool2d(clip[0, 0, ::4], 8)

    def mode(self):
        return self.means.expand(1, 16, -1, -1, -1)


def test_tiles_of_a_local_encoder_leave_no_seam(vae, monkeypatch):
    sizes = []
    monkeypatch.setattr(vae, "encode", lambda clip: sizes.append(tuple(clip.shape[2:])) or Shrinker(clip))
    image = np.random.default_rng(0).integers(0, 255, (160, 112, 3), dtype=np.uint8)
    whole = image_condition(vae, image, 2)
    tiled = image_condition(vae, image, 2, tile=64)
    assert_close(tiled, whole)
    assert sizes[0] == (5, 160, 112)
    assert set(sizes[1:]) == {(5, 64, 64)}


def test_pixels_are_the_nearest_of_256_steps_and_no_more():
    values = torch.tensor([-1.5, -1.0, 0.0, 0.00391, 1.0, 1.5]).view(1, 1, 1, -1).expand(3, 1, 1, -1)
    (frame,) = _to_frames(values.clamp(-1, 1))
    assert frame[0, :, 0].tolist() == [0, 0, 128, 128, 255, 255]
    unit = image_to_tensor(np.array([[[0, 51, 255]]], np.uint8))
    assert unit.flatten().tolist() == pytest.approx([-1, -0.6, 1], abs=1e-6)


class Bright(torch.nn.Module):
    """A decoder with values outside of the range of pixels."""

    def forward(self, latent, feat_cache, feat_idx, first_chunk):
        shape = (1, 3, 1 if first_chunk else 4, 8 * latent.shape[3], 8 * latent.shape[4])
        return torch.full(shape, 1.5)


@pytest.mark.parametrize("tile", [None, 64])
def test_values_beyond_white_are_white(vae, tile):
    vae = copy.deepcopy(vae)
    vae.decoder, vae.post_quant_conv = Bright(), torch.nn.Identity()
    assert all((frame == 255).all() for frame in decode(vae, latents(2, 20, 14), tile=tile))


class Remembering(torch.nn.Module):
    """A decoder that shows how often it was asked about the same place."""

    def forward(self, latent, feat_cache, feat_idx, first_chunk):
        count = 0 if feat_cache[0] is None else float(feat_cache[0].mean())
        feat_cache[0] = torch.full_like(latent, count + 1)
        shape = (1, 3, 1 if first_chunk else 4, 8 * latent.shape[3], 8 * latent.shape[4])
        return torch.full(shape, count / 8)


@pytest.mark.parametrize("tile", [None, 64])
def test_every_tile_remembers_its_own_frames_alone(vae, tile):
    vae = copy.deepcopy(vae)
    vae.decoder, vae.post_quant_conv = Remembering(), torch.nn.Identity()
    frames = list(decode(vae, latents(3, 20, 14), tile=tile))
    expected = [round((count / 8 + 1) * 127.5) for count in (0, 1, 1, 1, 1, 2, 2, 2, 2)]
    assert [int(frame.min()) for frame in frames] == [int(frame.max()) for frame in frames] == expected


def test_tiles_overlap_by_a_quarter_at_least_and_cover_everything():
    for length in range(9, 60):
        tiles = _split_tiles(length, 8, 64, torch.device("cpu"))
        spans = sorted({(t.rows.start, t.rows.stop) for t in tiles})
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        assert all(stop - start == 8 for start, stop in spans)
        assert all(before[1] - after[0] >= 2 for before, after in pairwise(spans))


def test_weights_rise_over_a_quarter_of_a_tile():
    first = _split_tiles(14, 8, 64, torch.device("cpu"))[0].weights[:, 0]  # rows 0 to 8; the next one from 6 on
    assert first[: 6 * 8].eq(1).all()
    falling = [(16 - i - 0.5) / 16 for i in range(16)]
    assert first[6 * 8 :].tolist() == pytest.approx(falling, abs=1e-5)


def test_the_condition_is_the_most_likely_latent_and_not_a_random_one(vae):
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    assert torch.equal(image_condition(vae, image, 1), image_condition(vae, image, 1))


def video(num_frames=9, height=64, width=96):
    return np.random.default_rng(0).integers(0, 256, (num_frames, height, width, 3), np.uint8)


@torch.no_grad()
def test_a_video_is_encoded_as_by_diffusers(vae):
    frames = video()
    pixels = torch.from_numpy(frames).permute(3, 0, 1, 2).unsqueeze(0) / 127.5 - 1
    expected = vae.encode(pixels).latent_dist.mode()
    mean, std = latent_statistics(vae, expected)
    found = encode_video(vae, frames)
    assert found.shape == (1, 16, 3, 8, 12)
    torch.testing.assert_close(found, (expected - mean) / std, atol=1e-5, rtol=1e-5)
    assert len(list(decode(vae, found))) == 9


def test_the_first_frame_of_a_video_is_encoded_like_a_portrait(vae):
    frames = video(5)
    torch.testing.assert_close(
        encode_video(vae, frames)[:, :, :1], image_condition(vae, frames[0], 2)[:, 4:, :1], atol=1e-5, rtol=1e-5
    )


def test_tiles_of_a_video_have_the_shape_of_the_whole(vae):
    frames = video(5, 96, 64)
    whole, tiled = encode_video(vae, frames), encode_video(vae, frames, tile=64)
    assert tiled.shape == whole.shape
    assert not torch.equal(tiled, whole)
    assert float((tiled - whole).abs().mean()) < 0.2 * float(whole.std())  # tiles differ at their borders


def test_frames_that_fill_no_latent_frame_are_refused(vae):
    with pytest.raises(ValueError, match="8 frames do not fill whole latent frames"):
        encode_video(vae, video(8))
