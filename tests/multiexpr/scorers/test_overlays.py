"""Overlays on a drawn scene that moves: text, a watermark, and a picture in the picture."""

import cv2
import numpy as np
import pytest

from exprbench import UserError
from multiexpr.models import text_detector
from multiexpr.models.text_detector import find_text_model, require_text_model
from multiexpr.recipe import KeepOverlays, ScoreOverlays
from multiexpr.scorers.overlays import OverlayScorer, largest_inset, text_share, watermark_share

LIMITS = KeepOverlays()
HEIGHT, WIDTH = 360, 640


def scene(seed, num_frames=10):
    """Return (T, H, W) float32 pictures of a texture that moves."""
    rng = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(rng.integers(0, 255, (HEIGHT + 200, WIDTH + 400), np.uint8), (0, 0), 6)
    ground = cv2.normalize(ground, None, 30, 220, cv2.NORM_MINMAX)
    shifts = rng.integers(0, 200, (num_frames, 2))
    return np.stack([ground[y : y + HEIGHT, 2 * x : 2 * x + WIDTH] for y, x in shifts]).astype(np.float32)


def marked(pictures, opacity=0.4):
    mark = np.zeros((HEIGHT, WIDTH), np.uint8)
    for y in (100, 200, 300):
        cv2.putText(mark, "ARCHIVE", (80, y), cv2.FONT_HERSHEY_SIMPLEX, 2.2, 255, 6, cv2.LINE_AA)
    return pictures + opacity * (mark / 255).astype(np.float32) * (255 - pictures)


def with_inset(pictures, other, border=3):
    result = pictures.copy()
    small = np.stack([cv2.resize(picture, (200, 112), interpolation=cv2.INTER_AREA) for picture in other])
    result[:, 20:132, 420:620] = small
    for picture in result if border else ():
        cv2.rectangle(picture, (420, 20), (619, 131), 255, border)
    return result


def test_steady_edges_over_a_moving_scene_are_a_watermark():
    shares = [[watermark_share(kind(scene(seed))) for seed in range(3)] for kind in (lambda p: p, marked)]
    assert max(shares[0]) < LIMITS.max_watermark < min(shares[1])


def test_edges_of_a_scene_at_rest_are_no_watermark():
    still = np.repeat(marked(scene(0))[:1], 10, axis=0)
    assert watermark_share(still) == 0


def test_a_rectangle_that_changes_by_itself_is_a_picture_in_the_picture():
    assert [largest_inset(scene(seed)) for seed in range(3)] == [0.0] * 3
    for border in (0, 3):
        areas = [largest_inset(with_inset(scene(seed), scene(seed + 10), border)) for seed in range(3)]
        assert areas == pytest.approx([200 * 112 / (HEIGHT * WIDTH)] * 3, rel=0.25)  # up to the outer edge of a border


def test_a_window_frame_that_people_pass_is_no_picture_in_the_picture():
    """Changes on both sides of a drawn frame are those of one picture."""
    pictures = scene(0)
    for picture in pictures:
        cv2.rectangle(picture, (420, 20), (619, 131), 255, 3)
    assert largest_inset(pictures) == 0


def test_the_picture_beside_an_inset_may_rest():
    still = np.repeat(scene(0)[:1], 10, axis=0)
    assert largest_inset(with_inset(still, scene(1), border=0)) > 0


def test_an_edge_of_the_scene_that_trembles_is_no_watermark():
    """A grating that moves by a pixel between two areas that get brighter and darker."""
    rng = np.random.default_rng(0)
    pictures = np.zeros((10, HEIGHT, WIDTH), np.float32)
    for picture in pictures:
        level, shift = rng.uniform(60, 100), int(rng.integers(0, 3))
        picture[:] = level
        for x in range(40, WIDTH, 60):
            picture[:, x + shift : x + shift + 30] += 120
    assert watermark_share(pictures) == 0


def test_a_photograph_on_the_wall_is_no_picture_in_the_picture():
    pictures = np.repeat(scene(0)[:1], 10, axis=0)
    framed = with_inset(pictures, np.repeat(scene(1)[:1], 10, axis=0))
    assert largest_inset(framed) == 0


@pytest.mark.skipif(find_text_model() is None, reason="needs rapidocr-onnxruntime")
def test_subtitles_are_text_and_texture_is_none():
    frames = [np.repeat(picture[..., None], 3, axis=2).astype(np.uint8) for picture in scene(0, 3)]
    assert text_share(frames) < LIMITS.max_text
    for frame, text in zip(frames, ("so what do you think", "I do not know", "we should go there"), strict=True):
        cv2.putText(frame, text, (120, 330), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 7, cv2.LINE_AA)
        cv2.putText(frame, text, (120, 330), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 3, cv2.LINE_AA)
    assert text_share(frames) > LIMITS.max_text


def test_a_missing_text_detector_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(text_detector, "find_text_model", lambda: None)
    with pytest.raises(UserError, match="rapidocr-onnxruntime, which is not installed"):
        require_text_model()


def test_the_columns_of_a_clip_without_the_text_detector():
    running = OverlayScorer(ScoreOverlays(text=False)).start({})
    for picture in scene(0):
        running.update(np.repeat(picture[..., None], 3, axis=2).astype(np.uint8), 0.0)
    row = running.compute()
    assert row["text"] is None
    assert row["inset"] == 0
    assert row["watermark"] < LIMITS.max_watermark
