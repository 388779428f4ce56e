import struct
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest

from exprbench.media import MediaError, images, read_clip, read_image, write_frames, write_image, write_video
from tests.videos import numbered, numbers

FRAMES = [numbered(i) for i in range(20)]


def test_what_is_written_is_read_back(tmp_path):
    assert write_video(tmp_path / "a.mp4", FRAMES) == 20
    frames, info = read_clip(tmp_path / "a.mp4")
    assert numbers(frames) == list(range(20))
    assert (info.codec, info.fps, info.has_audio) == ("h264", 25.0, False)


def test_the_same_frames_give_the_same_bytes(tmp_path):
    """Blocks that change from frame to frame, whatever lies in memory: what x264's quicker arithmetic gets wrong."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (20, 32, 42, 3), np.uint8).repeat(8, 1).repeat(8, 2)[:, :250, :334]
    files = set()
    for value in range(8):
        litter = [np.full(size, value, np.uint8) for size in rng.integers(1000, 400_000, 20)]
        write_video(tmp_path / "a.mp4", frames)
        files.add((tmp_path / "a.mp4").read_bytes())
        del litter
    assert len(files) == 1


def bt709_rgb(planes, height, width):
    """Independent conversion: limited-range Y'CbCr of BT.709 (ITU-R BT.709-6, 3.2 to 3.5) to RGB in [0, 255]."""
    y = (planes[:height] - 16.0) * 255 / 219
    blue, red = (
        np.kron(part.reshape(height // 2, width // 2), np.ones((2, 2))) * 255 / 224 - 128 * 255 / 224
        for part in np.split(planes[height:].astype(float), 2)
    )
    r, b = y + 1.5748 * red, y + 1.8556 * blue
    return np.stack([r, (y - 0.2126 * r - 0.0722 * b) / 0.7152, b], axis=-1).clip(0, 255)


@pytest.mark.parametrize(("height", "width"), [(720, 1280), (96, 160)])
def test_colours_are_tagged_and_mean_what_the_tags_say(tmp_path, height, width):
    ramp = np.linspace(30, 220, width)[None, :, None] * np.linspace(0.4, 1, height)[:, None, None]
    frame = np.rint(ramp * (1, 0.7, 0.5)).astype(np.uint8)
    write_video(tmp_path / "a.mp4", [frame] * 3, crf=1)
    with av.open(str(tmp_path / "a.mp4")) as file:
        context = file.streams.video[0].codec_context
        tags = context.colorspace, context.color_primaries, context.color_trc, context.color_range
        planes = next(file.decode(video=0)).to_ndarray(format="yuv420p")
    assert tags == (1, 1, 1, 1)  # BT.709 three times, limited range
    for read in (bt709_rgb(planes, height, width), read_clip(tmp_path / "a.mp4")[0][0]):
        assert np.abs(read - frame.astype(float)).mean() < 1.5


def test_odd_sizes_lose_a_row_and_a_column(tmp_path):
    odd = np.random.default_rng(0).integers(0, 256, (97, 161, 3), np.uint8)
    write_video(tmp_path / "a.mp4", [odd])
    write_video(tmp_path / "b.mp4", [odd[:96, :160]])
    assert read_clip(tmp_path / "a.mp4")[0].shape == (1, 96, 160, 3)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_the_encoder_gets_the_quality_and_one_thread(tmp_path):
    """x264 writes its settings into the stream."""
    write_video(tmp_path / "a.mp4", FRAMES)
    write_video(tmp_path / "b.mp4", FRAMES, crf=30)
    for name, crf in (("a.mp4", b"crf=17.0 "), ("b.mp4", b"crf=30.0 ")):
        data = (tmp_path / name).read_bytes()
        assert crf in data
        assert b" threads=1 " in data


@pytest.mark.parametrize("fps", [12.5, 25, 30, Fraction(30000, 1001), 29.97])
def test_the_rate_is_kept(tmp_path, fps):
    write_video(tmp_path / "a.mp4", FRAMES, fps=fps)
    info = read_clip(tmp_path / "a.mp4")[1]
    assert info.fps == pytest.approx(float(fps), rel=1e-9)
    assert info.duration_s == pytest.approx(20 / fps, abs=0.002)


def test_frames_are_numbered_from_zero_in_five_digits(tmp_path):
    assert write_frames(tmp_path / "case", FRAMES[:3]) == 3
    assert sorted(p.name for p in (tmp_path / "case").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert np.array_equal(read_image(tmp_path / "case" / "00002.png"), FRAMES[2])
    assert write_frames(tmp_path / "none", []) == 0


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def frames():
        yield FRAMES[0]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_video(tmp_path / "a.mp4", frames())
    assert list(tmp_path.iterdir()) == []


def test_no_frames_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_images_come_back_as_they_were(tmp_path):
    write_image(tmp_path / "a.png", FRAMES[3])
    assert np.array_equal(read_image(tmp_path / "a.png"), FRAMES[3])


@pytest.mark.parametrize(
    ("content", "code"), [(None, "missing_file"), (b"", "zero_bytes"), (b"GIF89a??", "open_failed")]
)
def test_images_that_cannot_be_read(tmp_path, content, code):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError) as error:
        read_image(path)
    assert error.value.code == code


def test_exif_orientation_turns_a_photograph_upright(tmp_path):
    from PIL import Image

    picture = Image.fromarray(FRAMES[5])
    exif = picture.getexif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to see it upright
    picture.save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png").shape == (160, 96, 3)


def test_what_the_container_says_is_kept(tmp_path):
    write_video(tmp_path / "a.mp4", FRAMES, metadata={"title": "made up", "comment": '{"seed": 1}'})
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert file.metadata["title"] == "made up"
        assert file.metadata["comment"] == '{"seed": 1}'


def tone(path, seconds, rate=44_100):
    """A video file with a sound of the given length beside one black frame."""
    with av.open(str(path), "w") as out:
        video, sound = out.add_stream("libx264", rate=25), out.add_stream("aac", rate=rate)
        video.width, video.height, video.pix_fmt, sound.layout = 64, 64, "yuv420p", "mono"
        out.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        out.mux(video.encode())
        wave = np.sin(np.arange(int(rate * seconds)) * 0.05).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.rate = rate
        out.mux(sound.encode(frame))
        out.mux(sound.encode())
    return path


@pytest.mark.parametrize(("seconds", "expected_s"), [(3.0, 0.8), (0.3, 0.3)])
def test_sound_lasts_no_longer_than_the_frames(tmp_path, seconds, expected_s):
    write_video(tmp_path / "a.mp4", FRAMES, audio=tone(tmp_path / "t.mp4", seconds))
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert [s.type for s in file.streams] == ["video", "audio"]
        sound = file.streams.audio[0]
        assert expected_s <= float(sound.duration * sound.time_base) < expected_s + 0.06  # whole packets
        assert max(np.abs(f.to_ndarray()).max() for f in file.decode(sound)) > 0.5
    assert read_clip(tmp_path / "a.mp4")[1].has_audio


def test_a_file_without_sound_adds_none(tmp_path):
    write_video(tmp_path / "silent.mp4", FRAMES)
    write_video(tmp_path / "a.mp4", FRAMES, audio=tmp_path / "silent.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "silent.mp4").read_bytes()


def test_an_image_whose_header_asks_for_gigabytes_is_refused(tmp_path):
    write_image(tmp_path / "a.png", FRAMES[0])
    data = bytearray((tmp_path / "a.png").read_bytes())
    for side in (9_000, 30_000):  # Pillow itself refuses the second
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        (tmp_path / "huge.png").write_bytes(data)
        with pytest.raises(MediaError, match=r"open_failed: huge\.png: .*pixels"):
            read_image(tmp_path / "huge.png")


def test_a_png_whose_part_is_longer_than_the_file_is_refused(tmp_path):
    write_image(tmp_path / "a.png", FRAMES[0])
    data = bytearray((tmp_path / "a.png").read_bytes())
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = struct.pack(">I", 0x7FFFFFFF)
    (tmp_path / "long.png").write_bytes(data)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-20])
    for name in ("long.png", "cut.png"):
        with pytest.raises(MediaError, match="longer than the file"):
            read_image(tmp_path / name)


def test_a_failed_write_leaves_the_previous_image(tmp_path, small_disk):
    write_image(tmp_path / "a.png", FRAMES[0])
    noise = np.random.default_rng(0).integers(0, 255, (96, 160, 3), np.uint8)
    with pytest.raises(OSError, match="too large"):
        write_image(tmp_path / "a.png", noise)
    assert np.array_equal(read_image(tmp_path / "a.png"), FRAMES[0])
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_file_too_large_to_be_an_image_is_not_read(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", FRAMES[0])
    size = (tmp_path / "a.png").stat().st_size
    monkeypatch.setattr(images, "MAX_BYTES", size)
    assert read_image(tmp_path / "a.png").shape == (96, 160, 3)
    monkeypatch.setattr(images, "MAX_BYTES", size - 1)
    with pytest.raises(MediaError, match=rf"open_failed: a\.png has more than {size - 1} bytes; expected an image"):
        read_image(tmp_path / "a.png")
