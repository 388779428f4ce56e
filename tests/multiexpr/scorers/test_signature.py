"""Signatures: copies of a picture have nearly the same hash, other pictures another one."""

import cv2
import numpy as np
import pytest

from multiexpr.models.detector import Models
from multiexpr.recipe import Recipe, ScoreSignature
from multiexpr.scorers.signature import SignatureScorer, perceptual_hash


def picture(seed, height=240, width=320):
    noise = np.random.default_rng(seed).normal(size=(height // 8, width // 8)).astype(np.float32)
    smooth = cv2.resize(cv2.GaussianBlur(noise, (0, 0), 2), (width, height))
    return cv2.normalize(smooth, None, 30, 220, cv2.NORM_MINMAX).astype(np.uint8)


def differing_bits(a, b):
    return bin((perceptual_hash(a) ^ perceptual_hash(b)) & (2**64 - 1)).count("1")


@pytest.mark.parametrize(
    "copy",
    [
        lambda p: cv2.resize(p, (960, 720)),
        lambda p: cv2.resize(p, (160, 120), interpolation=cv2.INTER_AREA),
        lambda p: cv2.GaussianBlur(p, (0, 0), 2),
        lambda p: np.clip(p * 0.7 + 20, 0, 255).astype(np.uint8),
        lambda p: cv2.imdecode(cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], 0),
    ],
)
def test_copies_of_a_picture_have_nearly_the_same_hash(copy):
    assert max(differing_bits(picture(seed), copy(picture(seed))) for seed in range(10)) <= 4


def test_other_pictures_have_other_hashes():
    assert min(differing_bits(picture(a), picture(b)) for a in range(10) for b in range(a)) >= 14


def test_hashes_leave_out_letterbox_bars():
    scorer = SignatureScorer(ScoreSignature(num_frames=2), Models(Recipe()))
    plain, boxed = scorer.start({}), scorer.start({})
    for seed in (1, 2):
        frame = np.stack([picture(seed)] * 3, axis=-1)
        plain.update(frame, 0.0)
        boxed.update(cv2.copyMakeBorder(frame, 40, 40, 0, 0, cv2.BORDER_CONSTANT), 0.0)
    assert plain.compute() == boxed.compute() == {"frame_hashes": [perceptual_hash(picture(s)) for s in (1, 2)],
                                                  "embedding": []}  # fmt: skip


def test_embeddings_are_the_mean_of_all_crops():
    class Embedder(Models):
        def embeddings(self, crops):
            return np.stack([[3.0, 4.0 * i] for i in range(len(crops))]) / 5

    running = SignatureScorer(ScoreSignature(clip="clip"), Embedder(Recipe())).start({})
    running.update(np.stack([picture(0)] * 3, axis=-1), 0.0)
    mean = np.array([3.0, 2.0])  # two crops
    assert running.compute()["embedding"] == pytest.approx(mean / np.linalg.norm(mean))
