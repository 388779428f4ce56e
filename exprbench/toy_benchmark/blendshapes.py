"""The 52 blendshapes in MediaPipe's order, and the displacement of the face's contours by each."""

from collections.abc import Callable
from functools import cache

import numpy as np

from exprbench.toy_benchmark.mesh import LIPS, LOWER_BROW, LOWER_LID, NUM_MESH, OVAL, UPPER_BROW, UPPER_LID, WING


def _sided(*names: str) -> tuple[str, ...]:
    return tuple(name + side for name in names for side in ("Left", "Right"))


NAMES = (
    *("_neutral", *_sided("browDown"), "browInnerUp", *_sided("browOuterUp"), "cheekPuff", *_sided("cheekSquint")),
    *_sided("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide"),
    *("jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose"),
    *(*_sided("mouthDimple", "mouthFrown"), "mouthFunnel", "mouthLeft", *_sided("mouthLowerDown", "mouthPress")),
    *("mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *_sided("mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"),
)

# All coordinates are in the head's frame, in centimetres: x to the person's left (the viewer's right), y up, z forward.
Move = Callable[[np.ndarray], None]
ALONG = np.linspace(-1, 1, 11)  # along the lips, from the person's right corner to the left one
SPACED = np.sin(np.pi / 2 * ALONG)  # points are denser towards the corners
MIDDLE = 1 - SPACED**2
CORNER = SPACED**2
GAPE = 0.32 + 0.68 * np.sqrt(np.maximum(MIDDLE, 0))  # displacement along the lips by an open jaw
RIGHT_TO_LEFT = np.clip(0.5 + 0.8 * SPACED, 0, 1)
TOP, INNER_TOP, INNER_BOTTOM, BOTTOM = range(4)
UPPER, LOWER = (TOP, INNER_TOP), (INNER_BOTTOM, BOTTOM)
CHIN = list(OVAL[11:26])
CHIN_WEIGHT = np.sin(np.linspace(0, np.pi, len(CHIN))) ** 1.5
CHEEKS = list(OVAL[8:14] + OVAL[23:29])


def index(name: str) -> int:
    """Return the index of a blendshape in MediaPipe's order."""
    return NAMES.index(name)


@cache
def indices(name: str) -> tuple[int, ...]:
    """Return the index of a blendshape, or the indices of both sides for a name without Left or Right."""
    return tuple(i for i, n in enumerate(NAMES) if n in (name, f"{name}Left", f"{name}Right"))


def contour_moves(points: np.ndarray) -> np.ndarray:
    """Return the displacement (52, 468, 3) of the contours by each blendshape at 1; it is zero for other points.

    Args:
        points: (468, 3) neutral points in the head's frame; the opening of the lids scales the blink.
    """
    moves = np.zeros((len(NAMES), NUM_MESH, 3))
    for name, move in _central_moves().items():
        move(moves[index(name)])
    for side, suffix in enumerate(("Right", "Left")):
        for name, move in (_eye_moves(points, side) | _side_moves(side)).items():
            move(moves[index(name + suffix)])
    return moves


def _add(m: np.ndarray, points: list[int], weight: np.ndarray | float, x: float, y: float, z: float = 0) -> None:
    m[points] += np.multiply.outer(np.broadcast_to(weight, len(points)), (x, y, z))


def _lips(m: np.ndarray, rows: tuple[int, ...], weight: np.ndarray | float, x: float, y: float, z: float = 0) -> None:
    """Move rows of the lips; the corners, shared by an upper and a lower row, move with the upper one."""
    for row in rows:
        moved = slice(None) if row in UPPER else slice(1, -1)
        _add(m, list(LIPS[row][moved]), np.broadcast_to(weight, len(ALONG))[moved], x, y, z)


def _eye_moves(points: np.ndarray, side: int) -> dict[str, Move]:
    upper, lower = list(UPPER_LID[side]), list(LOWER_LID[side])
    opening = points[upper] - points[lower]
    middle = np.sin(np.linspace(0, np.pi, len(upper)))

    def close(m: np.ndarray, top: float, bottom: float) -> None:
        m[upper] -= top * opening
        m[lower] += bottom * opening

    return {
        "eyeBlink": lambda m: close(m, 0.86, 0.12),
        "eyeSquint": lambda m: close(m, 0.12, 0.24),
        "eyeWide": lambda m: close(m, -0.26, -0.05),
        "eyeLookDown": lambda m: close(m, 0.42, -0.12),
        "eyeLookUp": lambda m: close(m, -0.16, 0.08),
        "cheekSquint": lambda m: _add(m, lower, middle, 0, 0.22, 0.05),
    }


def _side_moves(side: int) -> dict[str, Move]:
    """Return the moves of brows, nose and mouth on the person's right (0) or left (1) side."""
    out = 1 if side else -1
    brow, outer_to_inner = list(UPPER_BROW[side] + LOWER_BROW[side]), np.tile(np.linspace(0, 1, 5), 2)
    half = RIGHT_TO_LEFT if side else RIGHT_TO_LEFT[::-1]
    corner = np.where(ALONG * out > 0, CORNER, 0)

    def press(m: np.ndarray) -> None:
        _lips(m, (TOP,), half * MIDDLE, 0, -0.22)
        _lips(m, (BOTTOM,), half * MIDDLE, 0, 0.25)

    def sneer(m: np.ndarray) -> None:
        _add(m, list(WING[side][2:6]), 1, 0.1 * out, 0.3)
        _lips(m, (TOP,), half * MIDDLE, 0, 0.18)

    def smile(m: np.ndarray) -> None:
        _lips(m, UPPER + LOWER, half * CORNER, 0.8 * out, 1.1, -0.35)
        _lips(m, (TOP,), half * MIDDLE, 0, -0.06)
        _lips(m, (BOTTOM,), half * MIDDLE, 0, 0.06)
        _add(m, list(WING[side][3:6]), 1, 0.12 * out, 0.06)

    return {
        "browDown": lambda m: _add(m, brow, 0.5 + 0.5 * outer_to_inner, -0.18 * out, -0.62),
        "browOuterUp": lambda m: _add(m, brow, (1 - outer_to_inner) ** 0.7, 0, 0.85),
        "noseSneer": sneer,
        "mouthSmile": smile,
        "mouthFrown": lambda m: _lips(m, UPPER + LOWER, corner, 0.1 * out, -0.75),
        "mouthStretch": lambda m: _lips(m, UPPER + LOWER, half * np.abs(SPACED), 0.75 * out, -0.22, -0.2),
        "mouthDimple": lambda m: _lips(m, UPPER + LOWER, corner, 0.45 * out, 0.1, -0.3),
        "mouthPress": press,
        "mouthUpperUp": lambda m: _lips(m, UPPER, half * MIDDLE, 0, 0.55),
        "mouthLowerDown": lambda m: _lips(m, LOWER, half * MIDDLE, 0, -0.6),
    }


def _open_jaw(m: np.ndarray, amount: float) -> None:
    """Move the lips by an open jaw."""
    _lips(m, (INNER_BOTTOM,), GAPE, 0, -2.6 * amount, -0.4 * amount)
    _lips(m, (BOTTOM,), GAPE, 0, -2.5 * amount, -0.4 * amount)
    _lips(m, UPPER, SPACED**4, 0, -0.8 * amount)


def _narrow(m: np.ndarray, x: float, z: float, rows: tuple[float, ...]) -> None:
    """Move the corners together and the lips forward; the middle of each row also moves up by its entry in `rows`."""
    for row, y in zip(UPPER + LOWER, rows, strict=True):
        _lips(m, (row,), SPACED, -x, 0)
        _lips(m, (row,), MIDDLE, 0, y, 0.6 * z)
        _lips(m, (row,), 1, 0, 0, 0.4 * z)


def _jaw(m: np.ndarray, x: float, z: float) -> None:
    _add(m, CHIN, CHIN_WEIGHT, x, 0, z)
    _lips(m, LOWER, 0.8 * MIDDLE, x, 0, z)


def _central_moves() -> dict[str, Move]:
    """Return the moves of blendshapes without sides, or that move the whole mouth to one side."""

    def jaw_open(m: np.ndarray) -> None:
        _open_jaw(m, 1)
        _add(m, CHIN, CHIN_WEIGHT, 0, -2.1, -0.6)

    def inner_up(m: np.ndarray) -> None:
        for side in (0, 1):
            _add(m, list(UPPER_BROW[side] + LOWER_BROW[side]), np.tile(np.linspace(0, 1, 5) ** 1.6, 2), 0, 0.85)

    def puff(m: np.ndarray) -> None:
        m[CHEEKS, 0] += np.repeat((0.5, -0.5), len(CHEEKS) // 2)

    def shrug_lower(m: np.ndarray) -> None:
        _lips(m, LOWER, MIDDLE, 0, 0.22, 0.2)
        _add(m, CHIN, CHIN_WEIGHT, 0, 0.25)

    return {
        "browInnerUp": inner_up,
        "cheekPuff": puff,
        "jawForward": lambda m: _jaw(m, 0, 0.6),
        "jawLeft": lambda m: _jaw(m, 0.7, 0),
        "jawRight": lambda m: _jaw(m, -0.7, 0),
        "jawOpen": jaw_open,
        "mouthClose": lambda m: _open_jaw(m, -1),
        "mouthFunnel": lambda m: _narrow(m, 0.6, 0.5, (0.35, 0.3, -0.35, -0.4)),
        "mouthPucker": lambda m: _narrow(m, 1.0, 0.6, (0.12, 0.0, 0.0, -0.14)),
        "mouthLeft": lambda m: _lips(m, UPPER + LOWER, 1, 0.6, 0),
        "mouthRight": lambda m: _lips(m, UPPER + LOWER, 1, -0.6, 0),
        "mouthRollLower": lambda m: _lips(m, (BOTTOM,), MIDDLE, 0, 0.3, -0.15),
        "mouthRollUpper": lambda m: _lips(m, (TOP,), MIDDLE, 0, -0.25, -0.15),
        "mouthShrugLower": shrug_lower,
        "mouthShrugUpper": lambda m: _lips(m, UPPER, MIDDLE, 0, 0.25, 0.15),
    }
