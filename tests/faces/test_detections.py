"""BlazeFace's anchors, boxes and the suppression of overlapping ones."""

import numpy as np
import pytest

from exprbench.faces.detections import anchors, decode, weighted_suppression


def test_anchors_are_the_centres_of_two_grids():
    points = anchors()
    assert points.shape == (896, 2)
    assert points[:3].tolist() == [[1 / 32, 1 / 32], [1 / 32, 1 / 32], [3 / 32, 1 / 32]]
    assert points[512:519].tolist() == [[1 / 16, 1 / 16]] * 6 + [[3 / 16, 1 / 16]]
    assert points[-1].tolist() == [15 / 16, 15 / 16]


def test_boxes_and_points_are_relative_to_the_anchor_in_pixels():
    regressors, logits = np.zeros((896, 16)), np.full(896, -10.0)
    logits[600], logits[3] = 2, 1
    regressors[600] = [12.8, 0, 25.6, 12.8, *[6.4] * 12]
    scores, detections = decode(regressors, logits, 0.5)
    assert scores == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-1))])
    x, y = anchors()[600]
    assert detections[0] == pytest.approx([x, y - 0.05, x + 0.2, y + 0.05, *[x + 0.05, y + 0.05] * 6])


def test_weak_and_inverted_boxes_are_left_out():
    regressors, logits = np.zeros((896, 16)), np.full(896, -10.0)
    logits[:2] = 3
    regressors[1, 2] = -5
    assert len(decode(regressors, logits, 0.5)[0]) == 1
    assert len(decode(regressors, logits, 0.99)[0]) == 0


def test_overlapping_boxes_become_their_mean_weighted_by_score():
    boxes = np.zeros((3, 16))
    boxes[:, :4] = [[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 8]]
    boxes[:, 4] = [1, 2, 4]
    faces = weighted_suppression(np.array([0.8, 0.6, 0.4]), boxes, 0.5)
    assert [score for score, _ in faces] == [0.8, 0.6]
    assert faces[0][1][:5] == pytest.approx([0, 0, 10, (0.8 * 10 + 0.4 * 8) / 1.2, 2])
    assert faces[1][1][:5].tolist() == [20, 20, 30, 30, 2]
    assert len(weighted_suppression(np.array([0.8, 0.6, 0.4]), boxes, 0.9)) == 3


def test_a_box_without_area_ends_the_suppression():
    assert weighted_suppression(np.array([]), np.zeros((0, 16)), 0.5) == []
    assert len(weighted_suppression(np.array([0.9, 0.8]), np.zeros((2, 16)), 0.5)) == 1
