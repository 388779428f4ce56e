"""Still images."""

import warnings
from pathlib import Path

import numpy as np

from exprbench.core.files import atomic_path
from exprbench.media.errors import MediaError

MAX_BYTES = 200_000_000
PNG = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 1 << 26  # 8192 x 8192, as for videos: what claims more is a header that lies


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned upright by its EXIF orientation, transparency dropped, 16 bits reduced to 8.

    Raises:
        MediaError: missing_file, zero_bytes or open_failed.
    """
    import cv2

    if not path.is_file():
        raise MediaError("missing_file", f"there is no file {path}")
    if not 0 < path.stat().st_size <= MAX_BYTES:
        raise MediaError(
            "zero_bytes" if path.stat().st_size == 0 else "open_failed", f"{path.name}: not an image's size"
        )
    _refuse_huge(path)
    data = np.fromfile(path, np.uint8)
    _refuse_overlong(path, data)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise MediaError("open_failed", f"{path.name}: {error.err}") from error
    if image is None:
        raise MediaError("open_failed", f"{path.name} is not an image that can be read")
    return image


def _refuse_huge(path: Path) -> None:
    """A few bytes of header can make a decoder ask for gigabytes; those Pillow does not know are left to OpenCV."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
    except Image.DecompressionBombError as error:
        raise MediaError("open_failed", f"{path.name}: {error}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return
    if width * height > MAX_PIXELS:
        raise MediaError("open_failed", f"{path.name}: its header tells of {width}x{height} pixels")


def _refuse_overlong(path: Path, data: np.ndarray) -> None:
    """OpenCV makes room for as many bytes as a part of a PNG says it has, before it sees that they are not there."""
    if data[:8].tobytes() != PNG:
        return
    at, kind = len(PNG), b""
    while kind != b"IEND":
        length, kind = data[at : at + 4].tobytes(), data[at + 4 : at + 8].tobytes()
        at += 12 + int.from_bytes(length, "big")
        if at > len(data):
            raise MediaError(
                "open_failed", f"{path.name} is cut short, or a part of it says it is longer than the file"
            )


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 RGB image as PNG, whole or not at all; the same pixels give the same bytes."""
    import cv2

    ok, data = cv2.imencode(".png", image[..., ::-1])
    if not ok:
        raise ValueError(f"cannot encode an image of shape {image.shape}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
