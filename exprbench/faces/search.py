"""Where to look for faces in a frame: overlapping squares of several sizes.

MediaPipe's detector sees its input at 128 x 128 pixels and finds faces that span more than about a tenth of it, so
small heads in wide frames are found only in parts of the frame.
"""

from math import ceil

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
