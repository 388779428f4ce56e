from dataclasses import dataclass, field
from typing import Literal

import pytest

from exprbench import UserError
from exprbench.core.schema import decode


@dataclass(frozen=True, kw_only=True)
class Inner:
    count: int
    share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: list[Inner]
    size: tuple[int, int] | None = None
    kind: Literal["a", "b"] = "a"
    table: dict[str, float] = field(default_factory=dict)
    ok: bool = True
    many: tuple[int, ...] = ()


GOOD = {"name": "x", "inner": [{"count": 1}, {"count": 2, "share": 1}], "size": [3, 4], "table": {"k": 1}}


def test_what_fits_becomes_dataclasses():
    value = decode(Outer, GOOD, "file")
    assert value.inner == [Inner(count=1), Inner(count=2, share=1.0)]
    assert value.size == (3, 4)
    assert isinstance(value.table["k"], float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": 1}, "did you mean 'name'"),
        ({"name": 3}, "file.name is 3; expected a text"),
        ({"inner": {}}, "file.inner is {}; expected a list"),
        ({"inner": [{"count": True}]}, r"file.inner\[0\].count is True; expected a whole number"),
        ({"inner": [{"count": 1.5}]}, "expected a whole number"),
        ({"inner": [{}]}, "has no 'count'"),
        ({"size": [1]}, "has 1 entries; expected 2"),
        ({"kind": "c"}, "expected one of 'a', 'b'"),
        ({"table": {"k": float("nan")}}, "file.table.k is nan; expected a number"),
        ({"table": {"k": "1"}}, "expected a number"),
        ({"table": None}, "expected an object"),
        ({"ok": 1}, "expected true or false"),
        ({"table": {"k": True}}, "file.table.k is True; expected a number"),
        ({"table": {"k": 10**400}}, "expected a number"),
        ({"table": {"k": -(10**400)}}, "expected a number"),
        ({"table": {"k": float("-inf")}}, "expected a number"),
        ({"size": [1, 2, 3]}, "has 3 entries; expected 2"),
        ({"size": "ab"}, "file.size is 'ab'; expected a list"),
        ({"many": [1, "2"]}, r"file.many\[1\] is '2'; expected a whole number"),
        ({"name": None}, "file.name is None; expected a text"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(change, message):
    with pytest.raises(UserError, match=message) as error:
        decode(Outer, {**GOOD, **change}, "file")
    assert "\n" not in str(error.value)


def test_what_may_be_missing_has_its_default():
    value = decode(Outer, {"name": "x", "inner": []}, "file")
    assert value == Outer(name="x", inner=[])
    assert (value.table, value.size, value.many) == ({}, None, ())
    assert decode(Outer, {**GOOD, "size": None, "many": [3, 4, 5]}, "file").many == (3, 4, 5)


def test_long_values_are_cut_in_messages():
    with pytest.raises(UserError) as error:
        decode(Outer, {**GOOD, "name": ["x" * 10_000]}, "file")
    assert len(str(error.value)) < 150


def test_a_value_is_cut_to_sixty_characters():
    for length, shown in ((58, repr("x" * 58)), (59, repr("x" * 59)[:57] + "...")):
        with pytest.raises(UserError) as error:
            decode(Inner, {"count": "x" * length}, "file")
        assert str(error.value) == f"file.count is {shown}; expected a whole number"
