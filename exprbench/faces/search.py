"""Tiles for face detection: overlapping squares of several sizes.

MediaPipe's detector resizes its input to 128 x 128 pixels and detects faces larger than about a tenth of it, so small
heads in wide frames are detected only in tiles.
"""

from math import ceil

MIN_TILE = 192
NUM_LEVELS = 3
OVERLAP = 0.35  # of neighbouring tiles; a face too large for it is complete in a tile of the next larger size


def tiles(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Return the whole frame, then squares of its short side, of half and of a quarter of it, at least 192 pixels."""
    boxes = {(0, 0, width, height): None}
    short = min(width, height)
    for level in range(NUM_LEVELS):
        side = short >> level
        if level and side < MIN_TILE:
            break
        for y in _starts(height, side):
            for x in _starts(width, side):
                boxes[x, y, x + side, y + side] = None
    return list(boxes)


def _starts(length: int, side: int) -> list[int]:
    count = 1 + ceil((length - side) / (side * (1 - OVERLAP)))
    return [round(i * (length - side) / max(1, count - 1)) for i in range(count)]
