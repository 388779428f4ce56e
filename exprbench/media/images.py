"""Read and write still images."""

import warnings
from pathlib import Path

import numpy as np

from exprbench.core.files import atomic_path
from exprbench.media.errors import MediaError

MAX_BYTES = 200_000_000
PNG = b"\x89PNG\r\n\x1a\n"
MAGIC = {PNG: "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
# Of images in the container of MP4. The brands of sequences (msf1, hevc, avis) are videos.
BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2"), "HEIC"),
    b"avif": "AVIF",
}
MAX_PIXELS = 1 << 26  # 8192 x 8192, as for videos; a header with more is wrong


def read_image(path: Path) -> np.ndarray:
    """Return an image as (H, W, 3) uint8 RGB, upright by its EXIF orientation; transparency is dropped.

    Raises:
        MediaError: `missing_file`, `zero_bytes` or `open_failed`.
    """
    import cv2

    if not path.is_file():
        raise MediaError("missing_file", f"there is no file {path}")
    if not 0 < path.stat().st_size <= MAX_BYTES:
        raise MediaError(
            "zero_bytes" if path.stat().st_size == 0 else "open_failed", f"{path.name}: not an image's size"
        )
    _check_size(path)
    data = np.fromfile(path, np.uint8)
    _check_png_chunks(path, data)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise MediaError("open_failed", f"{path.name}: {error.err}") from error
    if image is None:
        raise MediaError("open_failed", f"{path.name} is not an image that can be read")
    return image


def image_format(path: Path | str) -> str:
    """Return the format of a still image from its first bytes; empty for other files, and for animations."""
    try:
        with open(path, "rb") as file:
            head = file.read(32)
    except (OSError, ValueError):
        return ""
    if head[4:8] == b"ftyp":
        return BRANDS.get(head[8:12], "")
    if head[:4] == b"RIFF":
        return "WebP" if head[8:12] == b"WEBP" else ""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), "")


def _check_size(path: Path) -> None:
    """Raise if the header claims too many pixels, which would make a decoder allocate gigabytes.

    Formats that Pillow does not support are checked by OpenCV.
    """
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
        raise MediaError("open_failed", f"{path.name}: its header claims {width}x{height} pixels")


def _check_png_chunks(path: Path, data: np.ndarray) -> None:
    """Raise if a chunk of a PNG claims to be longer than the file: OpenCV allocates its length before reading it."""
    if data[:8].tobytes() != PNG:
        return
    offset, kind = len(PNG), b""
    while kind != b"IEND":
        length, kind = data[offset : offset + 4].tobytes(), data[offset + 4 : offset + 8].tobytes()
        offset += 12 + int.from_bytes(length, "big")
        if offset > len(data):
            raise MediaError(
                "open_failed", f"{path.name} is cut short, or a part of it says it is longer than the file"
            )


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 RGB image as PNG, atomically; equal pixels give equal bytes."""
    import cv2

    ok, data = cv2.imencode(".png", image[..., ::-1])
    if not ok:
        raise ValueError(f"cannot encode an image of shape {image.shape}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
