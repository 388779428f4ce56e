"""Boxes (x0, y0, x1, y1): overlap, intersection over union and non-maximum suppression."""

from collections.abc import Callable, Sequence

Box = tuple[float, float, float, float]


def overlap(a: Box, b: Box) -> float:
    """Return the intersection of two boxes over the area of the smaller one, in [0, 1]."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(0.0, across) * max(0.0, down) / smaller if smaller > 0 else 0.0


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, in [0, 1]."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return float(shared / union) if union > 0 else 0.0


def non_maximum_suppression(
    boxes: Sequence[tuple[float, Box]], threshold: float = 0.3, measure: Callable[[Box, Box], float] = overlap
) -> list[tuple[float, Box]]:
    """Return (score, box) by descending score, without boxes whose overlap with a stronger one is above `threshold`."""
    kept: list[tuple[float, Box]] = []
    for score, box in sorted(boxes, key=lambda item: (-item[0], tuple(item[1]))):
        if all(measure(box, other) <= threshold for _, other in kept):
            kept.append((score, box))
    return kept
