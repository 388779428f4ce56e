import subprocess
import sys

import pytest

from exprbench.core.state_dicts import compare_shapes

MODEL = {"a": (1,), "b": (2, 3), "norm.num_batches_tracked": ()}


def test_equal_shapes_have_no_differences():
    mismatch = compare_shapes(MODEL, dict(MODEL))
    assert (mismatch.missing, mismatch.unexpected, mismatch.wrong_shape) == ((), (), ())
    assert mismatch.is_complete
    assert mismatch.is_exact
    assert str(mismatch) == "none"


def test_every_difference_is_listed_by_name():
    mismatch = compare_shapes({"a": (1,), "b": (2,), "c": (3,)}, {"b": (2,), "c": (4,), "x": (1,)})
    assert mismatch.missing == ("a",)
    assert mismatch.unexpected == ("x",)
    assert mismatch.wrong_shape == ("c [4] for [3]",)
    assert not mismatch.is_complete
    assert str(mismatch) == "1 missing (a); 1 unexpected (x); 1 of another shape (c [4] for [3])"


def test_unexpected_tensors_leave_a_state_dict_complete_but_not_exact():
    mismatch = compare_shapes({"a": (1,)}, {"a": (1,), "x": (2,)})
    assert mismatch.is_complete
    assert not mismatch.is_exact


@pytest.mark.parametrize("given", [{}, {"a": (2,)}])
def test_missing_and_misshapen_tensors_make_a_state_dict_incomplete(given):
    assert not compare_shapes({"a": (1,)}, given).is_complete


def test_optional_names_can_be_missing_but_not_misshapen():
    given = {"a": (1,), "b": (2, 3)}
    assert compare_shapes(MODEL, given).missing == ("norm.num_batches_tracked",)
    assert compare_shapes(MODEL, given, optional=("num_batches_tracked",)).is_exact
    given["norm.num_batches_tracked"] = (1,)
    mismatch = compare_shapes(MODEL, given, optional=("num_batches_tracked",))
    assert mismatch.wrong_shape == ("norm.num_batches_tracked [1] for []",)


def test_long_lists_are_cut_after_three_names_and_counted_in_full():
    expected = dict.fromkeys("abcde", (1,))
    assert str(compare_shapes(expected, {})) == "5 missing (a, b, c, ...)"
    assert str(compare_shapes(dict.fromkeys("abc", (1,)), {})) == "3 missing (a, b, c)"


def test_importing_the_module_does_not_import_torch():
    code = "import sys, exprbench.core.state_dicts; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
