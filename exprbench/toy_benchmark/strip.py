"""The image at the top of the README: the cast with different expressions."""

from pathlib import Path

import numpy as np

from exprbench.media import write_image
from exprbench.toy_benchmark.animation import EXPRESSIONS, still
from exprbench.toy_benchmark.cast import CAST
from exprbench.toy_benchmark.scene import render

STEP = 3

# Expression, head (yaw, pitch, roll) and gaze (right, up) in degrees, of each character in the two rows.
MOMENTS = (
    (("smile", (-12, 3, -6), (8, 2)), ("surprise", (8, 4, 4), (14, 6))),
    (("laugh", (10, 4, 6), (0, 0)), ("doubt", (-16, -3, -4), (-24, -4))),
    (("thought", (-10, 5, -5), (-18, 8)), ("laugh", (14, 5, 7), (4, 0))),
    (("smile", (14, -2, 4), (20, -2)), ("kiss", (-12, 4, -6), (-2, 2))),
    (("laugh", (-10, 4, -7), (-6, 0)), ("sulk", (10, -5, 4), (22, 2))),
    (("surprise", (-12, 2, 4), (-22, 6)), ("smile", (12, 2, 6), (2, -2))),
)


def strip(*, side: int = 224) -> np.ndarray:
    """Return (2 side, 6 side, 3) uint8 RGB: six people in a row, and again with other expressions."""
    return np.vstack([np.hstack([_moment(i, row, side) for i in range(len(CAST))]) for row in (0, 1)])


def save_strip(path: Path, *, side: int = 224) -> None:
    """Write the strip as a PNG below 300 kB; values are rounded to steps of 3, which compress better."""
    write_image(path, strip(side=side) // STEP * STEP)


def _moment(i: int, row: int, side: int) -> np.ndarray:
    expression, head_deg, gaze_deg = MOMENTS[i][row]
    other = CAST[(i + 3 * row) % len(CAST)]
    motion = still(EXPRESSIONS[expression], head_deg=head_deg, gaze_deg=gaze_deg)
    frames, _ = render([CAST[i]], [motion], (side, side), backdrop=other.backdrop)
    return next(frames)
