"""Dataclasses as schemas: settings with constraints, and validated decoding of JSON."""

import math
from collections.abc import Callable
from dataclasses import MISSING, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from exprbench.core.errors import UserError, unknown_name

T = TypeVar("T")
MAX_WHOLE = 10**300  # larger integers do not convert to a float
NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", NoneType: "null"}


def setting(
    default: Any,
    help: str = "",
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    above: float | None = None,
) -> Any:
    """Declare a field of a settings dataclass, with its help text and constraints; see `check_settings`.

    Args:
        default: default value.
        help: help text of the flag.
        choices: allowed values of a text.
        minimum: smallest allowed value of a number.
        above: exclusive lower bound of a number.
    """
    return field(default=default, metadata={"help": help, "choices": choices, "minimum": minimum, "above": above})


def check_settings(settings: Any, name: Callable[[str], str], *, minimum: float | None = None) -> None:
    """Check the fields of a settings dataclass against their constraints.

    Args:
        settings: a dataclass whose fields were declared with `setting`.
        name: maps a field's name to the name shown to the user, such as `--steps`.
        minimum: smallest allowed value of numbers without their own constraint.

    Raises:
        UserError: the first violation, with what was expected.
    """
    for f in fields(settings):
        value, rules = getattr(settings, f.name), f.metadata
        if rules.get("choices") and value not in rules["choices"]:
            raise unknown_name(name(f.name), value, list(rules["choices"]))
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        least, above = rules.get("minimum"), rules.get("above")
        least = minimum if least is None and above is None else least
        if not math.isfinite(value):
            raise UserError(f"{name(f.name)} is {value}; expected a number")
        if above is not None and value <= above:
            raise UserError(f"{name(f.name)} is {value}; expected a number above {above:g}")
        if least is not None and value < least:
            raise UserError(f"{name(f.name)} is {value}; expected {least:g} or more")


def decode(kind: type[T], value: Any, where: str) -> T:
    """Return parsed JSON as a value of type `kind`.

    Supports dataclasses (unknown and missing keys are errors), dict[str, X], list[X], tuple[X, ...], tuple[X, Y],
    optional values, literals and plain values; numbers must be finite.

    Args:
        where: path of the value in error messages.

    Raises:
        UserError: the value does not match `kind`; the message names the value, its path and what was expected.
    """
    if is_dataclass(kind):
        return _decode_fields(kind, _expect(dict, value, where, "an object"), where)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _decode_union(args, value, where)
    if origin is Literal:
        if value not in args:
            raise UserError(f"{where} is {value!r}; expected one of {', '.join(map(repr, args))}")
        return value
    if origin is dict:
        entries = _expect(dict, value, where, "an object")
        return {k: decode(args[1], v, f"{where}.{k}") for k, v in entries.items()}  # type: ignore[return-value]
    if origin in (list, tuple):
        return _decode_sequence(origin, args, _expect(list, value, where, "a list"), where)
    return _decode_plain(kind, value, where)


def _expect(kind: type, value: Any, where: str, name: str) -> Any:
    if not isinstance(value, kind):
        raise UserError(f"{where} is {_short(value)}; expected {name}")
    return value


@cache  # a record has thousands of values of one kind
def _type_hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode_fields(kind: type, value: dict[str, Any], where: str) -> Any:
    hints, known = _type_hints(kind), {f.name: f for f in fields(kind)}
    for key in value:
        if key not in known:
            raise UserError(f"{where}: {unknown_name('key', key, list(known))}")
    for name, f in known.items():
        if name not in value and f.default is MISSING and f.default_factory is MISSING:
            raise UserError(f"{where} has no {name!r}")
    return kind(**{key: decode(hints[key], v, f"{where}.{key}") for key, v in value.items()})


def _decode_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    (kind,) = (k for k in kinds if k is not NoneType)
    return decode(kind, value, where)


def _decode_sequence(origin: type, args: tuple[Any, ...], value: list[Any], where: str) -> Any:
    if origin is tuple and Ellipsis not in args:
        if len(value) != len(args):
            raise UserError(f"{where} has {len(value)} entries; expected {len(args)}")
        return tuple(decode(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(args, value, strict=True)))
    return origin(decode(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))


def _decode_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < MAX_WHOLE else math.inf
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise UserError(f"{where} is {_short(value)}; expected {NAMES[kind]}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
