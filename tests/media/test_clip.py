import os
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from exprbench.media import MediaError, open_clip, probe, read_clip, read_image, write_frames, write_image, write_video
from tests.videos import number_of, numbered, numbers, write

FRAMES = [numbered(i) for i in range(50)]


def code_of(path, **options):
    with pytest.raises(MediaError) as error:
        read_clip(path, **options)
    return error.value.code


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "libx264", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("av1.mp4", "libsvtav1", "yuv420p"),
        ("hevc10.mp4", "libx265", "yuv420p10le"),
        ("a.mov", "libx264", "yuv444p"),
    ],
)
def test_every_frame_of_common_files_arrives(tmp_path, name, codec, pix_fmt):
    path = write(tmp_path / name, FRAMES, codec=codec, pix_fmt=pix_fmt)
    frames, info = read_clip(path, fps=25)
    assert numbers(frames) == list(range(50))
    assert (info.width, info.height) == (160, 96)
    assert np.abs(frames.astype(int) - FRAMES).mean() < 4


@pytest.mark.parametrize("fps", ["15", "23", "24", "30000/1001", "30"])
def test_other_rates_reach_25(tmp_path, fps):
    rate = Fraction(fps)
    count = round(4 * rate)
    path = write(tmp_path / "a.mp4", [numbered(i) for i in range(count)], fps=rate)
    frames, _ = read_clip(path, fps=25)
    assert len(frames) == 100
    assert max(abs(n - k * float(rate) / 25) for k, n in enumerate(numbers(frames))) <= 0.5 + 1e-3


def test_variable_frame_rate_follows_the_clock(tmp_path):
    gaps = [20, 60, 40, 33, 100]
    times = [Fraction(sum(gaps[j % 5] for j in range(i)), 1000) for i in range(50)]
    path = write(tmp_path / "a.mkv", FRAMES, times_s=times)
    frames, _ = read_clip(path, fps=25)
    for k, n in enumerate(numbers(frames)):
        assert abs(float(times[n]) - k / 25) <= 0.0505


def test_fractional_rates_are_exact(tmp_path):
    path = write(tmp_path / "a.mkv", FRAMES[:5], times_s=[0, 10, 20, 30, 40])
    for fps, count in ((1, 40), (1.02, 41), (Fraction(102, 100), 41), (Fraction(30000, 1001), 1200)):
        assert len(read_clip(path, fps=fps)[0]) == count


def test_times_count_from_the_first_frame(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES, times_s=[4 + Fraction(i, 25) for i in range(50)])
    assert numbers(read_clip(path, fps=25)[0]) == list(range(50))


@pytest.mark.parametrize("pattern", ["{:05d}.jpg", "frame_{}.png", "{}.PNG", "img-{:03d}.webp", "shot 2 {:04d}.JPG"])
def test_folders_of_other_names_and_numberings(tmp_path, pattern):
    from PIL import Image

    for i in range(12):
        Image.fromarray(FRAMES[i]).save(tmp_path / pattern.format(i + 8))
    assert numbers(read_clip(tmp_path)[0]) == list(range(12))


def test_folders_with_several_series_or_numbers_that_come_twice(tmp_path):
    for name in ("a_1.png", "b_1.png", "b_2.png"):
        write_image(tmp_path / name, FRAMES[0])
    with pytest.raises(MediaError, match=r"no_video_stream: .* holds 2 series of images; expected one series"):
        read_clip(tmp_path)
    write_image(tmp_path / "0.png", FRAMES[3])
    assert numbers(read_clip(tmp_path)[0]) == [3]
    write_image(tmp_path / "00.png", FRAMES[4])
    with pytest.raises(MediaError, match="a frame number comes twice"):
        read_clip(tmp_path)


def test_a_gif_is_a_clip(tmp_path):
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in FRAMES[:10]]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=40)
    assert numbers(read_clip(tmp_path / "a.gif", fps=25)[0]) == list(range(10))


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path, kind):
    import socket

    path = tmp_path / "a.mp4"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    for read in (read_clip, probe, read_image):
        with pytest.raises(MediaError, match=r"open_failed: .* is not a regular file"):
            read(path)


def test_a_name_that_is_not_utf8_is_read_and_printed(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES[:3])
    os.rename(path, os.fsencode(tmp_path) + b"/\xff.mp4")
    (path,) = tmp_path.iterdir()
    assert len(read_clip(path)[0]) == 3
    path.unlink()
    with pytest.raises(MediaError) as error:
        read_clip(path)
    error.value.detail.encode()


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_metadata_is_applied(tmp_path, degrees):
    upright = numbered(5)
    sideways = np.ascontiguousarray(np.rot90(upright, -degrees // 90))
    path = write(tmp_path / "a.mp4", [sideways] * 5, rotation=degrees)
    frames, info = read_clip(path)
    assert (info.width, info.height) == (160, 96)
    assert number_of(frames[0]) == 5


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES[:5], aspect=Fraction(2, 1))
    frames, info = read_clip(path)
    assert (info.width, info.height) == (320, 96)
    assert frames.shape == (5, 96, 320, 3)


def streams(path, *parts):
    """A file of several video streams: (frames, encoder, what the stream is marked as) each."""
    with av.open(str(path), "w") as out:
        made = []
        for frames, codec, mark in parts:
            stream = out.add_stream(codec, rate=25)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.disposition = mark
            made.append(stream)
        for stream, (frames, *_) in zip(made, parts, strict=True):
            for frame in frames:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            out.mux(stream.encode())
    return path


def test_a_cover_picture_is_no_video(tmp_path):
    mark = av.stream.Disposition
    cover = ([np.ascontiguousarray(FRAMES[0].repeat(3, 0).repeat(3, 1))], "mjpeg", mark.attached_pic)
    assert code_of(streams(tmp_path / "only.mp4", cover)) == "no_video_stream"
    both = streams(tmp_path / "both.mp4", cover, (FRAMES[:10], "libx264", mark.default))
    assert read_clip(both)[0].shape == (10, 96, 160, 3)


@pytest.mark.parametrize("default", [0, 1])
def test_of_two_streams_the_one_marked_as_default_is_shown(tmp_path, default):
    small = [np.ascontiguousarray(frame[::2, ::2]) for frame in FRAMES[:10]]
    marks = [av.stream.Disposition.default if i == default else av.stream.Disposition.dub for i in (0, 1)]
    path = streams(tmp_path / "a.mp4", (small, "libx264", marks[0]), (FRAMES[:10], "libx264", marks[1]))
    assert read_clip(path)[1].width == (80, 160)[default]


def test_max_frames_stops_early_and_the_decoder_serves_again(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES)
    assert numbers(read_clip(path, fps=25, max_frames=7)[0]) == list(range(7))
    assert numbers(read_clip(path, fps=50, max_frames=4)[0]) == [0, 0, 1, 1]
    assert len(read_clip(path, fps=25)[0]) == 50


def test_frames_shown_several_times_are_cut_at_max_frames_too(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES)
    assert numbers(read_clip(path, fps=50, max_frames=3)[0]) == [0, 0, 1]
    assert numbers(read_clip(path, fps=100, max_frames=5)[0]) == [0, 0, 0, 1, 1]
    assert len(read_clip(path, max_frames=50)[0]) == len(read_clip(path, max_frames=999)[0]) == 50


def test_frames_are_read_only(tmp_path):
    """A repeated frame is the same array both times."""
    with open_clip(write(tmp_path / "a.mp4", FRAMES), fps=50) as clip, pytest.raises(ValueError, match="read-only"):
        next(iter(clip))[:] = 0


def test_leaving_in_the_middle_ends_the_decoder(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES)
    with open_clip(path) as clip:
        next(iter(clip))
        process = clip.decoder.process
    assert process.poll() is not None


def test_a_folder_of_frames_is_a_clip_without_loss(tmp_path):
    assert write_frames(tmp_path / "case", FRAMES[:9]) == 9
    frames, info = read_clip(tmp_path / "case", fps=25)
    assert np.array_equal(frames, FRAMES[:9])
    assert info.codec == "png"


def test_frames_of_a_folder_are_in_the_order_of_their_numbers(tmp_path):
    for i in range(8, 13):
        write_image(tmp_path / f"{i}.png", FRAMES[i])
    write_image(tmp_path / "thumbnail.png", FRAMES[0])
    frames, info = read_clip(tmp_path, fps=10)
    assert numbers(frames) == [8, 9, 10, 11, 12]
    assert (info.fps, info.duration_s) == (10, 0.5)
    assert numbers(read_clip(tmp_path, max_frames=3)[0]) == [8, 9, 10]


def test_a_folder_with_a_gap_or_a_number_twice_is_truncated(tmp_path):
    write_frames(tmp_path / "case", FRAMES[:5])
    write_image(tmp_path / "case" / "5.png", FRAMES[5])
    write_image(tmp_path / "case" / "\u0663.png", FRAMES[3])  # a three, but not one of ASCII
    assert numbers(read_clip(tmp_path / "case")[0]) == [0, 1, 2, 3, 4, 5]
    write_image(tmp_path / "case" / "3.png", FRAMES[3])
    assert code_of(tmp_path / "case") == "truncated"
    (tmp_path / "case" / "3.png").unlink()
    (tmp_path / "case" / "00002.png").unlink()
    assert code_of(tmp_path / "case") == "truncated"


def test_a_folder_of_mixed_sizes_or_without_frames(tmp_path):
    (tmp_path / "empty").mkdir()
    assert code_of(tmp_path / "empty") == "no_video_stream"
    write_frames(tmp_path / "case", [FRAMES[0], FRAMES[0][:48]])
    assert code_of(tmp_path / "case") == "decode_errors"


def test_a_playlist_cannot_name_other_files(tmp_path):
    write(tmp_path / "secret.ts", FRAMES[:5])
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile 'secret.ts'\n")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n")
    assert code_of(tmp_path / "list.mp4") == "open_failed"
    assert code_of(tmp_path / "list.m3u8") == "open_failed"


def test_a_name_is_never_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.mp4", FRAMES[:5]).rename(tmp_path / "pipe:0")
    assert len(read_clip("pipe:0")[0]) == 5
    assert code_of("http://127.0.0.1:9/a.mp4") == "missing_file"


def test_memory_stays_bounded_whatever_the_length(tmp_path):
    """Neither the reader nor its decoder holds more than a few frames."""
    script = (
        "import re, sys\nfrom exprbench.media import open_clip\n"
        "peak = lambda pid: int(re.search(r'VmHWM:\\s+(\\d+)', open(f'/proc/{pid}/status').read())[1])\n"
        "with open_clip(sys.argv[1], fps=25) as clip:\n    decoder = clip.decoder\n    for _ in clip: pass\n"
        "print(peak('self') + peak(decoder.process.pid))"
    )
    peaks = []
    for count in (30, 300):
        path = tmp_path / f"{count}.mp4"
        write_video(path, (np.full((720, 1280, 3), i % 255, np.uint8) for i in range(count)), preset="ultrafast")
        run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(run.stdout))
    assert peaks[1] - peaks[0] < 20_000  # kilobytes; 270 frames are 746 MB


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("d0", marks=pytest.mark.slow),
        *("d10", "d11", "d12", "d13", "d20", "d3", "jgz", "s29", "trump", "biden"),
    ],
)
def test_an_independent_decoder_gives_the_same_pixels(shared, name):
    decord = pytest.importorskip("decord")
    path = shared(f"driving/{name}.mp4")
    reader = decord.VideoReader(str(path), num_threads=1)
    with open_clip(path) as clip:
        count = 0
        for ours in clip:
            assert np.array_equal(ours, reader.next().asnumpy())
            count += 1
    assert count == len(reader)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "most"),
    [("multi/two_person.mp4", 0), ("raw/Megamind.avi", 0), ("raw/tree.avi", 0), ("raw/vtest.avi", 2)],
)
def test_other_files_too_but_for_the_transform_msmpeg4_leaves_open(shared, name, most):
    decord = pytest.importorskip("decord")
    reader = decord.VideoReader(str(shared(name)), num_threads=1)
    with open_clip(shared(name)) as clip:
        for _, ours in zip(range(100), clip, strict=False):
            assert np.abs(ours.astype(int) - reader.next().asnumpy()).max() <= most
            if len(reader) == 1:
                break
