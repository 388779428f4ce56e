import numpy as np
import pytest
import torch

from fantasyportrait.diffusion.face_masks import (
    face_attention_mask,
    follow_boxes,
    grow_boxes,
    released_labels,
    trilinear_labels,
)


def rects(num_frames, *boxes):
    return np.repeat(np.array(boxes, float)[:, None], num_frames, 1)


@pytest.mark.parametrize("case", range(7))
def test_boxes_labels_and_masks_are_the_released_ones(official, case):
    given = {k.removeprefix(f"c{case}_"): v for k, v in official("masks.npz").items() if k.startswith(f"c{case}_")}
    size, num_latent_frames = tuple(map(int, given["size"])), (int(given["frames"]) - 1) // 4 + 1
    boxes = given["boxes"][np.argsort(given["boxes"][:, [0, 2]].sum(1), kind="stable")]
    grown = grow_boxes(boxes, given["rects"], size)
    np.testing.assert_array_equal(grown, given["ext_boxes"])
    labels = released_labels(grown[:, None], size, num_latent_frames)
    np.testing.assert_array_equal(labels, given["labels"])
    mask = face_attention_mask(labels, [True] * len(boxes), "all")
    np.testing.assert_array_equal(mask[0].repeat_interleave(97, -1), given["correct_mask"])


def test_a_still_driver_grows_nothing():
    boxes = np.array([[10, 20, 50, 60]])
    np.testing.assert_array_equal(grow_boxes(boxes, rects(5, (0, 0, 9, 9)), (100, 100)), boxes)


def test_growth_is_capped_at_a_quarter():
    moving = rects(2, (0, 0, 10, 10))
    moving[0, 1] += (-50, 0, 1, 0)
    np.testing.assert_array_equal(grow_boxes(np.array([[40, 40, 80, 80]]), moving, (200, 200)), [[30, 40, 84, 80]])


def test_boxes_that_follow_move_in_units_of_the_face():
    driver = rects(3, (0.1, 0.1, 0.2, 0.3))
    driver[0, 2] += (0.1, 0.0, 0.1, 0.2)  # one face to the right, one face down at its lower edge
    followed = follow_boxes(np.array([[100.0, 100, 140, 180]]), driver)
    np.testing.assert_allclose(followed[0, 0], [100, 100, 140, 180])
    np.testing.assert_allclose(followed[0, 2], [140, 100, 180, 260])


def test_a_face_of_whole_tokens_covers_them():
    labels = trilinear_labels(rects(9, (32, 16, 64, 48)), (96, 64), 3)
    expected = torch.zeros(3, 4, 6, dtype=torch.long)
    expected[:, 1:3, 2:4] = 1
    assert torch.equal(labels, expected)


def test_a_face_too_small_for_a_token_keeps_one():
    labels = trilinear_labels(rects(1, (3, 3, 8, 8), (40, 40, 47, 47)), (96, 64), 2)
    assert all((frame == person).sum() == 1 for frame in labels for person in (1, 2))


def test_a_token_that_two_faces_cover_belongs_to_the_nearer_one():
    labels = trilinear_labels(rects(1, (0, 0, 64, 64), (32, 0, 96, 64)), (96, 64), 1)[0]
    assert labels[:, :3].unique().tolist() == [1]
    assert labels[:, 3:].unique().tolist() == [2]


def test_regions_follow_the_face_in_time():
    boxes = rects(9, (0, 0, 32, 32))
    boxes[0, 5:] += (64, 0, 64, 0)
    labels = trilinear_labels(boxes, (96, 64), 3)
    assert labels[0, 0].tolist() == [1, 1, 0, 0, 0, 0]
    assert labels[2, 0].tolist() == [0, 0, 0, 0, 1, 1]


def test_released_regions_follow_the_face_by_groups_of_four_frames():
    boxes = rects(9, (0, 0, 32, 32))
    boxes[0, 3:] += (64, 0, 64, 0)
    labels = released_labels(boxes, (96, 64), 3)
    assert labels[0, 0].tolist() == [1, 1, 0, 0, 0, 0]
    assert labels[1, 0].tolist() == [1, 1, 0, 0, 1, 1]  # frames 1 and 2 show it here, 3 and 4 there
    assert labels[2, 0].tolist() == [0, 0, 0, 0, 1, 1]


LABELS = torch.tensor([[[0, 1, 0, 2, 0, 3]]])


def test_backgrounds():
    every_face = face_attention_mask(LABELS, [True] * 3, "all")[0, 0]
    assert every_face.sum(-1).tolist() == [3, 1, 3, 1, 3, 1]
    no_face = face_attention_mask(LABELS, [True] * 3, "none")[0, 0]
    assert no_face.sum(-1).tolist() == [0, 1, 0, 1, 0, 1]
    nearest = face_attention_mask(LABELS, [True] * 3, "nearest")[0, 0]
    assert nearest.sum(-1).tolist() == [1] * 6
    assert nearest[0].tolist() == [True, False, False]


def test_tokens_of_a_face_at_rest_attend_to_no_face():
    mask = face_attention_mask(LABELS, [True, False, True], "all")[0, 0]
    assert mask.shape == (6, 2)
    assert mask[1].tolist() == [True, False]
    assert mask[3].tolist() == [False, False]
    assert mask[5].tolist() == [False, True]


@pytest.mark.parametrize("num_people", [1, 2, 3, 4, 5])
def test_every_region_attends_to_its_own_driver_only(num_people):
    boxes = rects(5, *((i * 48, 16, i * 48 + 32, 48) for i in range(num_people)))
    size = (48 * num_people, 64)
    for labels in (trilinear_labels(boxes, size, 2), released_labels(boxes[:, :1], size, 2)):
        mask = face_attention_mask(labels, [True] * num_people, "none")[0]
        flat = labels.flatten(1)
        for person in range(num_people):
            own = mask[flat == person + 1]
            assert len(own) == 2 * 4
            assert own[:, person].all()
            assert own.sum() == len(own)


def test_grown_boxes_are_cut_to_whole_pixels_within_the_picture():
    moving = rects(2, (0, 0, 10, 10))
    moving[0, 1] += (-5, -5, 5, 5)
    found = grow_boxes(np.array([[3, 40, 43, 77]]), moving, (45, 80))
    np.testing.assert_array_equal(found, [[0, 30, 45, 80]])  # 9.25 up, cut towards 0
    moving[0, 1] = (0.0, 0.0, 10.0, 11.0)
    np.testing.assert_array_equal(grow_boxes(np.array([[3, 10, 43, 48]]), moving, (90, 90)), [[3, 10, 43, 51]])


def test_half_a_token_is_enough_and_less_is_not_where_the_face_covers_others():
    labels = trilinear_labels(rects(1, (0, 0, 40, 32)), (64, 32), 1)[0]  # 2 tokens and a half across
    assert labels.tolist() == [[1, 1, 1, 0]] * 2
    labels = trilinear_labels(rects(1, (0, 0, 39, 32)), (64, 32), 1)[0]
    assert labels.tolist() == [[1, 1, 0, 0]] * 2


def test_a_face_outside_the_picture_has_no_token():
    labels = trilinear_labels(rects(1, (-60, 0, -20, 32), (0, 0, 32, 32)), (64, 32), 1)[0]
    assert labels.tolist() == [[2, 2, 0, 0]] * 2
    labels = released_labels(rects(1, (-20, -20, 20, 10)), (64, 32), 1)[0]
    assert labels.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]


def test_the_nearer_of_two_faces_is_that_in_units_of_its_own_size():
    """Token 8 is 56 pixels from the middle of the large face, 18 from that of the small one: 0.35 and 0.375 faces."""
    labels = trilinear_labels(rects(1, (0, 0, 160, 32), (130, 0, 178, 32)), (192, 32), 1)[0, 0]
    assert labels.tolist() == [1] * 9 + [2, 2, 0]


def test_without_any_region_no_face_is_the_nearest():
    mask = face_attention_mask(torch.zeros(2, 3, 4, dtype=torch.long), [True, True], "nearest")
    assert not mask.any()
