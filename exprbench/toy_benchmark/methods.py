"""Toy reenactment methods: an exact copy, and copies with known errors."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from exprbench.toy_benchmark.animation import Animation
from exprbench.toy_benchmark.damage import delayed, frozen, gaze_turned, jittered, swapped

Method = Callable[[Sequence[Animation]], list[Animation]]
"""Maps the animations of the drivers' faces to those of the drawn faces, left to right."""

DELAY = 2
GAZE_DEG = 5.0


def _each(change: Callable[[Animation], Animation]) -> Method:
    return lambda motions: [change(motion) for motion in motions]


def _jittered(motions: Sequence[Animation]) -> list[Animation]:
    return [jittered(motion, seed) for seed, motion in enumerate(motions)]


def _swapped(motions: Sequence[Animation]) -> list[Animation]:
    """Return the animations swapped between the people, who keep their places; one person's is unchanged."""
    if len(motions) == 1:
        return list(motions)
    return [replace(m, offset_cm=original.offset_cm) for m, original in zip(swapped(motions), motions, strict=True)]


METHODS: dict[str, Method] = {
    "perfect": list,
    "gaze off by 5 degrees": _each(lambda motion: gaze_turned(motion, GAZE_DEG)),
    "two frames late": _each(lambda motion: delayed(motion, DELAY)),
    "jittery": _jittered,
    "people swapped": _swapped,
    "still image": _each(frozen),
}
