"""Variants that other public evaluations use, written out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from exprbench.metrics.face_errors import face_errors
from tests.metrics.faces import any_face, pair, poses


def test_the_mean_of_smirks_groups():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 55))
    faces = replace(pair(any_face(5), any_face(5)), profile="paper", readings=({"expression": a}, {"expression": b}))
    groups = [np.abs(b[:, start:stop] - a[:, start:stop]).mean(1) for start, stop in ((0, 50), (50, 52), (52, 55))]
    assert face_errors(faces, ["aed_groups"])["aed_groups"] == pytest.approx(sum(groups) / 3, rel=1e-12)


def test_entries_of_rotation_matrices():
    angle = 0.4
    heads = [any_face(3, pose=poses(Rotation.from_rotvec([[0, a, 0]] * 3))) for a in (0, angle)]
    expected = (2 * (1 - np.cos(angle)) + 2 * np.sin(angle)) / 9
    assert face_errors(pair(*heads), ["apd_rotmat"])["apd_rotmat"] == pytest.approx(np.full(3, expected), rel=1e-6)
