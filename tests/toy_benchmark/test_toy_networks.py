import cv2
import numpy as np
import pytest

from exprbench.metrics.clip_grid import ClipGrid
from exprbench.metrics.extractors import clip_features, fid_id, frame_features, fvd_id
from exprbench.toy_benchmark.animation import perform
from exprbench.toy_benchmark.cast import CAST
from exprbench.toy_benchmark.scene import render
from exprbench.toy_benchmark.toy_networks import CHANNELS, DemoClipNet, DemoImageNet, maps, squashed, weights


@pytest.fixture(scope="module")
def clips():
    return np.stack([list(render([CAST[i]], [perform(i, 16)], (96, 96))[0]) for i in range(3)])


def of_frames(frames):
    return frame_features(frames, DemoImageNet())


def of_clips(clips):
    return np.concatenate([clip_features(clip, DemoClipNet(), ClipGrid()) for clip in clips])


def test_features_have_the_shape_promised(clips):
    assert of_frames(clips[0]).shape == (16, 64)
    assert of_clips(clips).shape == (3, 64)
    assert of_frames(clips[0]).dtype == of_clips(clips).dtype == np.float32
    assert of_frames([]).shape == (0, 64)


def test_ids_say_that_these_are_not_the_real_networks():
    assert fid_id(DemoImageNet()) == "fid[demo-net64,squash64]"
    assert fvd_id(DemoClipNet()).startswith("fvd[demo-net64,squash64,16f")


def test_a_batch_gives_what_single_frames_give(clips):
    frames = np.concatenate([*clips, *clips])
    np.testing.assert_allclose(
        of_frames(frames), np.concatenate([of_frames(f[None]) for f in frames]), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_array_equal(of_frames(frames), of_frames(frames.copy()))
    np.testing.assert_array_equal(of_clips(clips)[1], of_clips(clips[1:2])[0])


def test_convolutions_agree_with_torch(clips):
    torch = pytest.importorskip("torch")
    small = np.stack([squashed(f) for f in clips[0][:2]])
    x = torch.from_numpy(small.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)
    for layer in range(3):
        num_in, num_out = CHANNELS[layer : layer + 2]
        kernel = torch.from_numpy(weights(layer, 9 * num_in, num_out).reshape(num_in, 3, 3, num_out))
        x = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        x = torch.relu(torch.nn.functional.conv2d(x, kernel.permute(3, 0, 1, 2), stride=2))
    np.testing.assert_allclose(maps(small), x.permute(0, 2, 3, 1).numpy(), rtol=1e-4, atol=1e-5)


def test_more_damage_moves_features_further(clips):
    reference = of_frames(clips[0])
    blurred = [of_frames(np.stack([cv2.GaussianBlur(f, (0, 0), s) for f in clips[0]])) for s in (0.7, 1.5, 3)]
    far = [float(np.linalg.norm(b - reference, axis=1).mean()) for b in blurred]
    assert far == sorted(far)
    assert far[-1] < np.linalg.norm(of_frames(clips[1]) - reference, axis=1).mean()


def test_clip_features_see_movement(clips):
    frozen = np.repeat(clips[:, :1], 16, axis=1)
    assert np.linalg.norm(of_clips(clips) - of_clips(frozen), axis=1).min() > 0.1
    shuffled = clips[:, np.random.default_rng(0).permutation(16)]
    assert np.linalg.norm(of_clips(clips) - of_clips(shuffled), axis=1).min() > 0.01
