"""Files that are damaged, truncated or not videos, and timestamps that jump."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from exprbench.media import MediaError, open_frames, probe, read_clip, write_image, write_video
from tests.media.test_clip import code_of
from tests.media.test_writer import tone
from tests.videos import noise, numbered, numbers, packets, write

FRAMES = [numbered(i) for i in range(50)]


def test_files_that_hold_no_video(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    write_image(tmp_path / "picture.png", FRAMES[0])
    (tmp_path / "picture.png").rename(tmp_path / "picture.mp4")
    assert code_of(tmp_path / "gone.mp4") == "missing_file"
    assert code_of(tmp_path / "empty.mp4") == "zero_bytes"
    assert code_of(tmp_path / "text.mp4") == "open_failed"
    assert code_of(tmp_path / "picture.mp4") == "open_failed"


def test_sound_without_pictures(tmp_path):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    assert code_of(tmp_path / "a.mp4") == "no_video_stream"


def test_a_file_cut_short_is_truncated(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, noise(50))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert code_of(path) == "truncated"


def test_damaged_packets_are_named_after_the_frames_that_decode(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, noise(50))
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 40_000
    data[start : start + 5000] = bytes(np.random.default_rng(1).integers(0, 255, 5000, np.uint8))
    path.write_bytes(data)
    assert code_of(path) == "decode_errors"


@pytest.mark.parametrize(
    ("name", "codec", "place", "length", "message"),
    [
        ("a.mkv", "mpeg4", 0.5, 50, r"decode_errors: 1 damaged frames and 0 unreadable packets, with 19 good"),
        ("a.mp4", "libx264", 0, 8, r"decode_errors: 0 damaged frames and 1 unreadable packets, with 19 good"),
    ],
)
def test_damaged_frames_and_unreadable_packets_are_counted(tmp_path, name, codec, place, length, message):
    path = write(tmp_path / name, noise(20), codec=codec)
    packet, data = packets(path)[3], bytearray(path.read_bytes())
    start = data.index(packet) + int(place * len(packet))
    data[start : start + length] = b"\xff" * length
    path.write_bytes(data)
    with pytest.raises(MediaError, match=message):
        read_clip(path)
    with open_frames(path, [i / 25 for i in range(20)]) as frames, pytest.raises(MediaError, match=message):
        list(frames)


def spoil(path, packet):
    data, there = bytearray(path.read_bytes()), packets(path)[packet]
    start = data.index(there) + len(there) // 2
    data[start : start + 50] = b"\xff" * 50
    path.write_bytes(data)
    return path


def test_damage_counts_as_far_as_a_clip_is_read(tmp_path):
    path = spoil(write(tmp_path / "a.mkv", noise(20), codec="mpeg4"), 15)
    assert len(read_clip(path, max_frames=10)[0]) == 10
    assert code_of(path, max_frames=18) == "decode_errors"
    assert code_of(path, fps=25, max_frames=99) == "decode_errors"


def test_a_file_cut_short_is_truncated_where_more_was_asked_for(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, noise(50))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(read_clip(path, max_frames=5)[0]) == 5
    assert code_of(path, max_frames=49) == "truncated"


def test_a_video_whose_first_frame_is_damaged_is_not_described(tmp_path):
    with pytest.raises(MediaError, match="decode_errors: 1 damaged"):
        probe(spoil(write(tmp_path / "a.mkv", noise(20), codec="mpeg4"), 0))


@pytest.mark.parametrize(("gap_s", "good"), [(60, True), (61, False)])
def test_a_clock_that_jumps_by_more_than_a_minute_is_damage(tmp_path, gap_s, good):
    times = [0, Fraction(1, 25), Fraction(1, 25) + gap_s, Fraction(2, 25) + gap_s]
    path = write(tmp_path / "a.mkv", FRAMES[:4], times_s=times)
    for read in (lambda: read_clip(path)[0], lambda: list(open_frames(path, [float(t) for t in times]))):
        if good:
            assert numbers(read()) == [0, 1, 2, 3]
        else:
            with pytest.raises(MediaError, match="decode_errors: the clock jumps"):
                read()


def wreck(path, which):
    """Make packets unreadable."""
    data = bytearray(path.read_bytes())
    there = packets(path)
    for i in which:
        at = data.index(there[i])
        data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (range(3, 40, 3), "0 damaged frames and 13 unreadable packets, with 27 good frames"),
        (range(5, 40), "0 damaged frames and 8 unreadable packets, with 5 good frames"),
    ],
)
def test_eight_unreadable_packets_in_a_row_end_a_clip_and_others_do_not(tmp_path, which, message):
    path = wreck(write(tmp_path / "a.mp4", noise(40), options={"bf": "0"}), which)
    with pytest.raises(MediaError, match=f"decode_errors: {message}"):
        read_clip(path)


def test_a_clip_without_a_decodable_frame_is_an_error(tmp_path):
    path = wreck(write(tmp_path / "a.mp4", noise(10), options={"bf": "0"}), range(10))
    with pytest.raises(MediaError, match="decode_errors: not one frame could be decoded"):
        read_clip(path)


def claiming(path, seconds):
    """A Matroska file whose header claims another duration."""
    data = bytearray(path.read_bytes())
    struct.pack_into(">d", data, data.index(b"\x44\x89\x88") + 3, 1000 * seconds)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("num_frames", "claimed_s", "good"), [(10, 0.45, True), (10, 0.6, False), (50, 2.09, True), (50, 2.2, False)]
)
def test_frames_can_end_slightly_before_the_claimed_duration(tmp_path, num_frames, claimed_s, good):
    """By 5 % of the time, or a tenth of a second."""
    path = claiming(write(tmp_path / "a.mkv", FRAMES[:num_frames]), claimed_s)
    for read in (lambda: read_clip(path)[0], lambda: list(open_frames(path, [i / 25 for i in range(num_frames)]))):
        if good:
            assert numbers(read()) == list(range(num_frames))
        else:
            with pytest.raises(MediaError, match="truncated: the frames end at"):
                read()


@pytest.mark.parametrize("share", [0.3, 0.85])
def test_a_file_of_which_the_end_is_missing_is_truncated(tmp_path, share):
    write_video(tmp_path / "a.mp4", noise(50))
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: round(share * len(data))])
    assert code_of(tmp_path / "a.mp4") == "truncated"


def test_longer_audio_does_not_make_a_clip_truncated(tmp_path):
    path = tone(tmp_path / "a.mp4", 3.0)
    frames, info = read_clip(path)
    assert (len(frames), info.has_audio) == (1, True)
    assert info.duration_s == pytest.approx(0.04)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_a_slow_clip_lasts_as_long_as_its_last_frame_is_shown(tmp_path, name):
    path = write(tmp_path / name, FRAMES[:10], fps=5, codec="libvpx-vp9" if name == "a.webm" else "libx264")
    assert (probe(path).num_frames, probe(path).duration_s) == (10, 2)
    with open_frames(path, [0, 1.8]) as frames:
        assert numbers(frames) == [0, 9]
    assert len(read_clip(path, fps=25)[0]) == 50


@pytest.mark.parametrize(("name", "codec", "format"), [("a.h264", "libx264", "h264"), ("a.m4v", "mpeg4", "m4v")])
def test_a_stream_without_a_clock_runs_at_its_rate(tmp_path, name, codec, format):
    path = write(tmp_path / name, FRAMES, codec=codec, format=format, options={"bf": "0"})
    assert numbers(read_clip(path)[0]) == list(range(50))
    assert numbers(read_clip(path, fps=25)[0]) == list(range(50))
    assert len(read_clip(path, fps=50)[0]) == 100


def joined(tmp_path, second, **options):
    """Two transport streams, one behind the other."""
    parts = [write(tmp_path / "1.ts", FRAMES[:10]), write(tmp_path / "2.ts", second, **options)]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    return tmp_path / "a.ts"


def test_later_frames_of_another_size_are_scaled_to_the_first(tmp_path):
    large = [np.ascontiguousarray(f.repeat(2, 0).repeat(2, 1)) for f in FRAMES[10:20]]
    path = joined(tmp_path, large, times_s=[Fraction(10 + i, 25) for i in range(10)])
    frames = read_clip(path)[0]
    assert frames.shape == (20, 96, 160, 3)
    assert numbers(frames) == list(range(20))


def test_timestamps_never_decrease(tmp_path):
    path = joined(tmp_path, FRAMES[10:20])
    assert numbers(read_clip(path)[0]) == list(range(20))
    assert numbers(read_clip(path, fps=25)[0]) == list(range(10))


def lasting(path, seconds):
    """A Matroska file whose last frame has a duration."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 96, 160, "yuv420p"
        packets = [p for f in FRAMES[:5] for p in stream.encode(av.VideoFrame.from_ndarray(f, format="rgb24"))]
        packets += stream.encode()
        packets[-1].duration = round(seconds / packets[-1].time_base)
        out.mux(packets)
    return path


@pytest.mark.parametrize(("seconds", "count"), [(0.04, 5), (0.4, 14), (1, 29)])
def test_the_last_frame_is_shown_for_its_duration_up_to_a_second(tmp_path, seconds, count):
    assert numbers(read_clip(lasting(tmp_path / "a.mkv", seconds), fps=25)[0]) == [0, 1, 2, 3, *[4] * (count - 4)]
