"""Comparison of two state dicts by the names and shapes of their tensors."""

from collections.abc import Mapping
from dataclasses import dataclass

Shapes = Mapping[str, tuple[int, ...]]
MAX_LISTED = 3


@dataclass(frozen=True, kw_only=True)
class ShapeMismatch:
    """Differences between the tensors a model expects and those given.

    Each entry of `wrong_shape` reads "name [given shape] for [expected shape]".
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shape: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Return whether every expected tensor is given in its shape; unexpected tensors are allowed."""
        return not (self.missing or self.wrong_shape)

    @property
    def is_exact(self) -> bool:
        """Return whether there is no difference at all."""
        return self.is_complete and not self.unexpected

    def __str__(self) -> str:
        groups = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.wrong_shape}
        counts = [f"{len(names)} {kind} ({_join(names)})" for kind, names in groups.items() if names]
        return "; ".join(counts) or "none"


def compare_shapes(expected: Shapes, given: Shapes, *, optional: tuple[str, ...] = ()) -> ShapeMismatch:
    """Compare the tensors a model expects with those given.

    Args:
        expected: shape of each tensor of the model, by name.
        given: shape of each given tensor, by name.
        optional: endings of names; a tensor whose name has one of them is never reported as missing.

    >>> print(compare_shapes({"a": (1,), "b": (2,)}, {"b": (3,)}))
    1 missing (a); 1 of another shape (b [3] for [2])
    """
    return ShapeMismatch(
        missing=tuple(n for n in expected if n not in given and not n.endswith(optional)),
        unexpected=tuple(n for n in given if n not in expected),
        wrong_shape=tuple(
            f"{n} {list(given[n])} for {list(expected[n])}" for n in expected if n in given and given[n] != expected[n]
        ),
    )


def _join(names: tuple[str, ...]) -> str:
    return ", ".join(names[:MAX_LISTED]) + (", ..." if len(names) > MAX_LISTED else "")
