import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from exprbench.metrics.apd import axis_angle_l1, axis_angle_rmse, geodesic_deg, quaternion

heads = arrays(np.float64, (2, 3), elements=st.floats(-0.6, 0.6))
anything = arrays(np.float64, (2, 3), elements=st.floats(-1.8, 1.8))


def test_closed_forms():
    a, b = np.zeros((1, 3)), np.array([[0.3, 0, -0.06]])
    assert axis_angle_l1(a, b) == pytest.approx([0.12])
    assert axis_angle_rmse(a, b) == pytest.approx([np.sqrt((0.09 + 0.0036) / 3)])
    assert geodesic_deg(a, b) == pytest.approx([np.degrees(np.hypot(0.3, 0.06))])


@settings(max_examples=50, deadline=None)
@given(heads, heads)
def test_heads_that_face_the_camera_are_compared_component_by_component(a, b):
    assert axis_angle_l1(a, b) == pytest.approx(np.abs(a - b).mean(-1), abs=1e-15)


@settings(max_examples=50, deadline=None)
@given(anything, anything)
def test_the_angle_is_that_of_scipys_rotations(a, b):
    truth = (Rotation.from_rotvec(a).inv() * Rotation.from_rotvec(b)).magnitude()
    assert geodesic_deg(a, b) == pytest.approx(np.degrees(truth), abs=1e-6)
    assert np.abs((quaternion(a) * Rotation.from_rotvec(a).as_quat()).sum(-1)) == pytest.approx(np.ones(2))


@settings(max_examples=50, deadline=None)
@given(anything, anything)
def test_it_is_symmetric_and_exactly_zero_at_equality(a, b):
    for distance in (axis_angle_l1, axis_angle_rmse, geodesic_deg):
        assert (distance(a, b) == distance(b, a)).all()
        assert (distance(a, b) >= 0).all()
        assert (distance(a, a) == 0).all()


def test_near_a_half_turn_neighbours_stay_neighbours():
    """A head upside down, a degree to either side: the vectors are opposite, the rotations two degrees apart."""
    half = np.radians(179)
    a, b = np.array([[half, 0, 0]]), np.array([[-half, 0, 0]])
    assert geodesic_deg(a, b) == pytest.approx([2], abs=1e-9)
    assert axis_angle_l1(a, b) == pytest.approx([np.radians(2) / 3], abs=1e-12)
    assert axis_angle_l1(a, a * 0.99) == pytest.approx([half * 0.01 / 3], abs=1e-12)


def test_growing_turns_grow():
    turns = np.linspace(0, 3, 20)[:, None] * [0.6, 0.0, 0.8]
    assert (np.diff(geodesic_deg(np.zeros_like(turns), turns)) > 0).all()


def test_what_is_not_known_has_no_value():
    a = np.array([[0.1, 0, 0], [np.nan] * 3])
    for distance in (axis_angle_l1, axis_angle_rmse, geodesic_deg):
        assert np.isnan(distance(a, np.zeros((2, 3)))).tolist() == [False, True]
