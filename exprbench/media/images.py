"""Read and write still images."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.files import atomic_path
from exprbench.media.errors import MediaError

MAX_BYTES = 200_000_000
PNG = b"\x89PNG\r\n\x1a\n"
BACKGROUND = 255  # of transparent images: white
MAGIC = {PNG: "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
# Of images in the container of MP4. The brands of sequences (msf1, hevc, avis) are videos.
BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2"), "HEIC"),
    b"avif": "AVIF",
}
MAX_PIXELS = 1 << 26  # 8192 x 8192, also of videos; a header with more is wrong


def read_image(path: Path) -> np.ndarray:
    """Return an image as (H, W, 3) uint8 RGB, upright by its EXIF orientation; transparency shows white.

    HEIC needs the package pillow-heif.

    Raises:
        MediaError: `missing_file`, `zero_bytes` or `open_failed`.
    """
    _check_file(path)
    if image_format(path) == "HEIC":
        _register_heif(path)
        _check_size(path)
        return _composite(*_read_with_pillow(path))
    _check_size(path)
    image = _read_with_opencv(path)
    if image is None or _is_transparent(path):
        return _composite(*_read_with_pillow(path))
    return image


def _check_file(path: Path) -> None:
    if not path.exists():
        raise MediaError("missing_file", f"there is no file {path}")
    if not path.is_file():
        raise MediaError("open_failed", f"{path.name} is not a regular file; expected an image")
    if path.stat().st_size == 0:
        raise MediaError("zero_bytes")
    if path.stat().st_size > MAX_BYTES:
        raise MediaError("open_failed", f"{path.name} has more than {MAX_BYTES} bytes; expected an image")


def _read_with_opencv(path: Path) -> np.ndarray | None:
    """Return an image without its transparency, None if OpenCV cannot read it."""
    import cv2

    data = np.fromfile(path, np.uint8)
    _check_png_chunks(path, data)
    try:
        return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise MediaError("open_failed", f"{path.name}: {error.err}") from error


def _read_with_pillow(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return an image (H, W, 3) and its transparency (H, W), None if it has none."""
    from PIL import ImageOps

    try:
        with _open_with_pillow(path) as image:
            upright = ImageOps.exif_transpose(image)
            return np.asarray(upright.convert("RGB")), _alpha_channel(upright)
    except Exception as error:  # damaged images make Pillow raise almost anything
        raise MediaError("open_failed", f"{path.name} is not an image that can be read") from error


@contextmanager
def _open_with_pillow(path: Path) -> Iterator[Any]:
    """Open an image with Pillow, without its warnings; it raises almost anything for damaged files.

    EPS is left out, because Pillow runs Ghostscript for it.
    """
    from PIL import Image

    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=[name for name in Image.OPEN if name != "EPS"]) as image:
            yield image


def _is_transparent(path: Path) -> bool:
    """Return whether a pixel of an image is not opaque; false if Pillow cannot read it."""
    try:
        with _open_with_pillow(path) as image:
            alpha = _alpha_channel(image)
            return alpha is not None and alpha.min() < 255
    except Exception:  # as above
        return False


def _has_alpha(image: Any) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _alpha_channel(image: Any) -> np.ndarray | None:
    return np.asarray(image.convert("RGBA").getchannel("A")) if _has_alpha(image) else None


def _composite(image: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Return an image over `BACKGROUND`."""
    if alpha is None:
        return image
    opacity = alpha[..., None].astype(np.uint32)
    return ((image * opacity + BACKGROUND * (255 - opacity) + 127) // 255).astype(np.uint8)


def _register_heif(path: Path) -> None:
    """Enable Pillow to read HEIC.

    Raises:
        MediaError: pillow-heif is missing.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        convert = "convert it to JPEG or PNG, or pip install pillow-heif"
        raise MediaError("open_failed", f"{path.name} is a HEIC image; {convert}") from None
    register_heif_opener()


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
    from PIL import Image

    try:
        with _open_with_pillow(path) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise MediaError("open_failed", f"{path.name}: {error}") from error
    except Exception:  # damaged headers make Pillow raise almost anything
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
