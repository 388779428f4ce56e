"""Portraits: transparency, formats that only some libraries read, and damaged headers."""

import sys
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from exprbench.media import MediaError, read_image
from tests.videos import numbered

PICTURE = numbered(5)


def transparent(path, opacity, mode="RGBA"):
    """Write a picture of this opacity in its left half, opaque in its right half."""
    alpha = np.full(PICTURE.shape[:2], 255, np.uint8)
    alpha[:, :80] = opacity
    Image.fromarray(np.dstack([PICTURE, alpha])).convert(mode).save(path, lossless=True)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_transparency_shows_white(tmp_path, name):
    image = read_image(transparent(tmp_path / name, 0))
    assert (image[:, :80] == 255).all()
    assert np.array_equal(image[:, 80:], PICTURE[:, 80:])
    half = read_image(transparent(tmp_path / name, 51))[:, :80].astype(int)
    assert np.abs(half - (PICTURE[:, :80] * 0.2 + 255 * 0.8)).max() <= 1


def test_an_opaque_image_keeps_its_pixels(tmp_path):
    assert np.array_equal(read_image(transparent(tmp_path / "a.png", 255)), PICTURE)


def test_grey_and_palette_images_with_transparency(tmp_path):
    assert (read_image(transparent(tmp_path / "grey.png", 0, "LA"))[:, :80] == 255).all()
    picture = Image.fromarray(PICTURE).quantize(8)
    picture.save(tmp_path / "palette.png", transparency=picture.getpixel((0, 0)))
    image = read_image(tmp_path / "palette.png")
    assert (image[0, 0] == 255).all()
    assert (image[32, 16] == PICTURE[32, 16]).all()


def test_transparency_is_turned_with_the_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = np.full(PICTURE.shape[:2], 255, np.uint8)
    alpha[:, :80] = 0
    Image.fromarray(np.dstack([PICTURE, alpha])).save(tmp_path / "a.png", exif=exif)
    image = read_image(tmp_path / "a.png")
    assert image.shape == (160, 96, 3)
    assert (image[:80] == 255).all()
    assert not (image[80:] == 255).all()


@pytest.mark.parametrize("suffix", [".pcx", ".tga", ".ico"])
def test_what_only_pillow_reads_is_read(tmp_path, suffix):
    square = PICTURE[:96, :96]
    Image.fromarray(square).save(tmp_path / f"a{suffix}", **({"sizes": [(96, 96)]} if suffix == ".ico" else {}))
    assert np.array_equal(read_image(tmp_path / f"a{suffix}"), square)


def test_what_only_opencv_reads_is_read(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "a.hdr"), np.full((8, 8, 3), 0.5, np.float32))
    assert read_image(tmp_path / "a.hdr").shape == (8, 8, 3)


def test_no_program_is_run_for_an_image(tmp_path, monkeypatch):
    import subprocess

    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("a program was run"))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was run"))
    text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.eps").write_text(text)
    with pytest.raises(MediaError, match=r"open_failed: a\.eps is not an image that can be read"):
        read_image(tmp_path / "a.eps")


def heic(path):
    """Write the start of a HEIC file."""
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    return path


def test_heic_without_its_reader_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    message = r"open_failed: a\.heic is a HEIC image; convert it to JPEG or PNG, or pip install pillow-heif"
    with pytest.raises(MediaError, match=message):
        read_image(heic(tmp_path / "a.heic"))


def test_damaged_heic_is_an_error(tmp_path, monkeypatch):
    reader = ModuleType("pillow_heif")
    reader.register_heif_opener = lambda: None
    monkeypatch.setitem(sys.modules, "pillow_heif", reader)
    with pytest.raises(MediaError, match=r"open_failed: a\.heic is not an image that can be read"):
        read_image(heic(tmp_path / "a.heic"))


def test_heic_is_read(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.fromarray(PICTURE)).save(tmp_path / "a.heic", quality=-1)
    assert np.abs(read_image(tmp_path / "a.heic").astype(int) - PICTURE).mean() < 4
