"""Still images."""

from pathlib import Path

import numpy as np

from exprbench.files import atomic_path
from exprbench.media.errors import MediaError

MAX_BYTES = 200_000_000


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
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise MediaError("open_failed", f"{path.name}: {error.err}") from error
    if image is None:
        raise MediaError("open_failed", f"{path.name} is not an image that can be read")
    return image


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 RGB image as PNG, whole or not at all; the same pixels give the same bytes."""
    import cv2

    ok, data = cv2.imencode(".png", image[..., ::-1])
    if not ok:
        raise ValueError(f"cannot encode an image of shape {image.shape}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
