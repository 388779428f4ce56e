import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import from_numpy
from torch.nn.functional import l1_loss, mse_loss

from exprbench.metrics.aed import PARTS, l1_mean, rmse

coefficients = arrays(np.float64, (3, 52), elements=st.floats(0, 1))


def test_closed_forms():
    a = np.zeros((2, 50))
    b = a.copy()
    b[0, 7], b[1] = 0.5, -0.2
    assert l1_mean(a, b) == pytest.approx([0.01, 0.2])
    assert rmse(a, b) == pytest.approx([0.5 / np.sqrt(50), 0.2])
    assert rmse(a, b) * np.sqrt(50) == pytest.approx(np.linalg.norm(b - a, axis=1))


@settings(max_examples=30, deadline=None)
@given(coefficients, coefficients)
def test_the_values_are_those_of_torch(a, b):
    sides = from_numpy(a), from_numpy(b)
    assert l1_mean(a, b) == pytest.approx(l1_loss(*sides, reduction="none").mean(1).numpy(), abs=1e-12)
    assert rmse(a, b) == pytest.approx(mse_loss(*sides, reduction="none").mean(1).sqrt().numpy(), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(coefficients, coefficients)
def test_it_is_symmetric_bounded_and_zero_at_equality(a, b):
    assert (l1_mean(a, b) == l1_mean(b, a)).all()
    assert ((l1_mean(a, b) >= 0) & (l1_mean(a, b) <= 1)).all()
    assert (l1_mean(a, b) <= rmse(a, b) + 1e-12).all()
    assert (l1_mean(a, a) == 0).all()


def test_what_is_not_known_has_no_value():
    a = np.zeros((2, 52))
    a[1, 3] = np.nan
    assert np.isnan(l1_mean(a, np.zeros((2, 52)))).tolist() == [False, True]


def test_the_parts_are_mediapipes_blendshapes():
    shapes = pytest.importorskip("mediapipe.tasks.python.vision.face_landmarker").Blendshapes
    names = [shape.name for shape in sorted(shapes)]
    assert len(names) == 52
    prefixes = {"brows": ("BROW",), "eyes": ("EYE",), "mouth": ("JAW", "MOUTH")}
    for part, starts in prefixes.items():
        assert {n for n in names if n.startswith(starts)} == set(names[PARTS[part]])
