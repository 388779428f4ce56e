"""How close two results of a float32 network must be."""

import numpy as np

ROUNDING = 1e-4


def assert_close(found, expected, share=ROUNDING):
    """Require that no value differs by more than `share` of the largest expected one.

    Processors add float32 products in different orders (vector width, number of threads, library), and results then
    differ by some hundred units in the last place, up to 3e-5 of the largest value. The default leaves three times as
    much. A mistake in a network shows at a hundredth and more.
    """
    found, expected = (np.asarray(values, np.float64) for values in (found, expected))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=share * np.abs(expected).max(initial=0))
