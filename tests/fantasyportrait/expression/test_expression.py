import numpy as np
import pytest
import torch

from fantasyportrait.expression.align import TEMPLATE, align_face, estimate_similarity
from fantasyportrait.expression.driver import encode_crops, fill_gaps
from fantasyportrait.expression.encoder import FEATURE_DIM, HEAD_DIMS, ExpressionEncoder
from tests.closeness import assert_close
from tests.fantasyportrait.official import fill


@pytest.fixture(scope="module")
def filled(official):
    encoder = ExpressionEncoder()
    encoder.load_state_dict({k: fill(k, s) for k, s in official("fan_keys.json").items()})
    return encoder.eval()


def test_features_are_the_released_ones(official, filled):
    fan = official("fan.npz")
    features = encode_crops(filled, fan["images"])
    parts = np.split(features, np.cumsum(list(HEAD_DIMS.values()))[:-1], axis=1)
    for name, part in zip(HEAD_DIMS, parts, strict=True):
        assert_close(part, fan[name])
    assert_close(features, fan["feature554"])
    assert features.shape == (2, FEATURE_DIM)


def test_a_batch_gives_what_its_faces_give_alone(official, filled):
    images = official("fan.npz")["images"]
    alone = np.concatenate([encode_crops(filled, image[None]) for image in images])
    assert_close(encode_crops(filled, images), alone)


def test_the_encoder_has_the_published_tensors(official):
    shapes = {name: list(t.shape) for name, t in ExpressionEncoder().state_dict().items()}
    assert shapes == official("fan_keys.json")


@pytest.mark.parametrize("i", range(4))
def test_alignment_is_the_released_one(official, i):
    given = official("align.npz")
    frame, points = given[f"frame_{i}"], given[f"points_{i}"]
    np.testing.assert_allclose(estimate_similarity(points), given[f"matrix_{i}"], atol=1e-4)
    crop = align_face(frame, points)
    difference = np.abs(crop.astype(int) - given[f"crop_{i}"])
    assert difference.max() <= 4  # OpenCV 4 and 5 differ by as much
    assert difference.mean() < 0.2
    inputs = crop[..., ::-1].transpose(2, 0, 1)[:, ::16, ::16] / 255 * 2 - 1
    np.testing.assert_allclose(inputs, given[f"tensor_{i}_sub16"], atol=4 / 127.5)


@pytest.mark.parametrize("angle_deg", [0, 30, -75, 170])
def test_a_moved_template_is_found_again(angle_deg):
    angle = np.radians(angle_deg)
    turn = 3.5 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = TEMPLATE * 224 @ turn.T + (40, -7)
    matrix = estimate_similarity(points)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE * 224, atol=1e-9)


def test_mirrored_points_are_rotated_not_mirrored():
    matrix = estimate_similarity(TEMPLATE * (-224, 224))
    assert np.linalg.det(matrix[:, :2]) > 0


def test_gaps_are_interpolated_between_their_neighbours():
    values = np.array([[0.0, 0], [9, 9], [9, 9], [3, 6], [9, 9]])
    seen = np.array([True, False, False, True, False])
    np.testing.assert_allclose(fill_gaps(values, seen), [[0, 0], [1, 2], [2, 4], [3, 6], [3, 6]])


def test_seen_frames_are_unchanged():
    values = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_array_equal(fill_gaps(values, np.ones(7, bool)), values)


def test_frames_before_the_first_face_take_its_values():
    values = np.array([[np.nan], [np.nan], [5.0]])
    np.testing.assert_array_equal(fill_gaps(values, np.array([False, False, True])), [[5], [5], [5]])


def test_encoding_computes_no_gradients(filled):
    crops = np.zeros((1, 224, 224, 3), np.uint8)
    assert encode_crops(filled, crops).dtype == np.float32
    assert not torch.is_inference_mode_enabled()


def test_the_encoder_reads_the_mouth_before_its_embedding():
    assert ExpressionEncoder().mouth_embed[1].out_features == 500
    assert HEAD_DIMS == {"headpose": 6, "eye": 6, "emo": 30, "mouth": 512}


def test_the_template_has_the_left_eye_of_the_picture_first():
    assert TEMPLATE[0, 0] < TEMPLATE[2, 0] < TEMPLATE[1, 0]
    assert TEMPLATE[3, 0] < TEMPLATE[4, 0]
    assert TEMPLATE[0, 1] < TEMPLATE[2, 1] < TEMPLATE[3, 1]
