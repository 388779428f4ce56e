"""Where to look for faces in a frame: overlapping squares of several sizes.

MediaPipe's detector sees its input at 128 x 128 pixels and finds faces that span more than about a tenth of it, so
small heads in wide frames are found only in parts of the frame.
"""

from math import ceil

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels

MIN_TILE = 192
NUM_LEVELS = 3
OVERLAP = 0.35  # of a tile; a face too large to lie whole in one tile is found on the level above


def tiles(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """The whole frame, then squares of its short side, of half and of a quarter of it, none below 192 pixels."""
    found = {(0, 0, width, height): None}
    short = min(width, height)
    for level in range(NUM_LEVELS):
        side = short >> level
        if level and side < MIN_TILE:
            break
        for y in _starts(height, side):
            for x in _starts(width, side):
                found[x, y, x + side, y + side] = None
    return list(found)


def _starts(length: int, side: int) -> list[int]:
    count = 1 + ceil((length - side) / (side * (1 - OVERLAP)))
    return [round(i * (length - side) / max(1, count - 1)) for i in range(count)]


def overlap(a: Box, b: Box) -> float:
    """Shared area over the smaller of the two."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(0.0, across) * max(0.0, down) / smaller if smaller > 0 else 0.0


def strongest(found: list[tuple[float, Box]], most: float = 0.3) -> list[tuple[float, Box]]:
    """Of boxes that overlap by more than `most`, the one of the highest score."""
    kept: list[tuple[float, Box]] = []
    for score, box in sorted(found, key=lambda item: (-item[0], item[1])):
        if all(overlap(box, other) <= most for _, other in kept):
            kept.append((score, box))
    return kept
