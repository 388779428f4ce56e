import os
import shutil
import tarfile
import zipfile
from fractions import Fraction

import numpy as np
import pytest

from exprbench.media import MediaError, Piece, VideoSource, containers, open_clip, open_frames, probe, read_clip
from exprbench.media import sparse_decoder as picking
from exprbench.media.clip import DecoderProcess
from exprbench.media.containers import open_container, video_stream
from exprbench.media.stream import StreamReader
from tests.videos import cut_by_edit_list, number_of, numbered, numbers, write

FRAMES = [numbered(i) for i in range(120)]


X26X = "open-gop=1:keyint=12:min-keyint=12:bframes=3:b-adapt=0:scenecut=0"
REORDERED = {  # frames before a key frame that are decoded after it, and frames that others do not depend on
    "h264": ("a.mp4", "libx264", {"x264-params": X26X}),
    "hevc": ("a.mkv", "libx265", {"x265-params": X26X + ":log-level=none"}),
    "mpeg4": ("a.mkv", "mpeg4", {"g": "12", "bf": "2"}),
    "avi": ("a.avi", "mpeg4", {"g": "12", "bf": "2"}),
    "vp9": ("a.webm", "libvpx-vp9", {"g": "12"}),
    "av1": ("a.mp4", "libsvtav1", {"g": "12"}),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write(tmp_path_factory.mktemp("clip") / "a.mp4", FRAMES)


def picked(video, times_s, **options):
    with open_frames(video, times_s, **options) as frames:
        return numbers(frames)


def code_of(action, *args, **options):
    with pytest.raises(MediaError) as error:
        list(action(*args, **options))
    return error.value.code


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.ts", "libx264"),
        ("a.mp4", "libx265"),
        ("a.webm", "libvpx-vp9"),
        ("a.avi", "mpeg4"),
        ("a.mp4", "libsvtav1"),
    ],
)
def test_the_frames_nearest_to_the_times_arrive(tmp_path, name, codec):
    path = write(tmp_path / name, FRAMES, codec=codec)
    wanted = [0, 7, 8, 55, 119]
    assert (
        picked(path, [n / 25 + shift for n, shift in zip(wanted, (0, 0.019, -0.019, 0.01, 9), strict=True)]) == wanted
    )


def test_of_two_frames_equally_near_the_earlier_is_taken(clip):
    assert picked(clip, [0.02, 0.06, 0.1]) == [0, 1, 2]


def test_times_may_ask_for_one_frame_again_and_again(clip):
    assert picked(clip, [0.4, 0.4, 0.401, 0.44]) == [10, 10, 10, 11]


@pytest.mark.parametrize("fps", [5, 12.5, 25, 30])
def test_a_constant_rate_is_what_open_clip_gives(clip, fps):
    frames, _ = read_clip(clip, fps=fps)
    with open_frames(clip, [k / fps for k in range(len(frames))]) as sparse:
        assert np.array_equal(np.stack(list(sparse)), frames)


def test_times_have_to_ascend(clip):
    with pytest.raises(ValueError, match="ascending"):
        open_frames(clip, [1, 0])
    with pytest.raises(ValueError, match="at least one"):
        open_frames(clip, [])


def test_frames_come_in_the_smallest_size_that_is_large_enough(clip):
    for sides, size in [
        ({"short_side": 48}, (80, 48)),
        ({"long_side": 80}, (80, 48)),
        ({"short_side": 48, "long_side": 120}, (120, 72)),
        ({"short_side": 5000}, (160, 96)),
        ({}, (160, 96)),
    ]:
        with open_frames(clip, [1.0], **sides) as frames:
            assert (frames.info.width, frames.info.height) == size
            assert next(iter(frames)).shape == (size[1], size[0], 3)


def test_scaling_averages_what_it_leaves_out(clip):
    with open_frames(clip, [1.0], short_side=24) as frames:
        small = next(iter(frames)).astype(float)
    blocks = read_clip(clip)[0][25].reshape(24, 4, 40, 4, 3).mean((1, 3))
    assert np.abs(small - blocks).mean() < 2


def test_a_turned_clip_is_scaled_upright(tmp_path):
    path = write(tmp_path / "a.mp4", [np.ascontiguousarray(np.rot90(FRAMES[5]))] * 5, rotation=270)
    with open_frames(path, [0.1], short_side=48) as frames:
        assert next(iter(frames)).shape == (48, 80, 3)
    assert (probe(path).width, probe(path).height, abs(probe(path).rotation_deg)) == (160, 96, 90)


def test_a_decoder_that_hangs_is_killed_for_every_request(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "hangs.mp4")
    killed, kill = [], DecoderProcess.kill
    monkeypatch.setattr(DecoderProcess, "kill", lambda decoder: (killed.append(decoder.process), kill(decoder)))
    monkeypatch.setattr(VideoSource, "num_bytes", 9)  # it refuses pipes
    video = VideoSource(pieces=(Piece(str(tmp_path / "hangs.mp4"), 0, 9),))
    for ask in (lambda: probe(video, stall_s=0.3), lambda: open_frames(video, [0], stall_s=0.3)):
        with pytest.raises(MediaError, match=r"timeout: no frame for 0\.3 s"):
            ask()
    assert len(killed) == 2
    assert all(process.poll() is not None for process in killed)


def test_relative_paths_are_relative_to_the_current_folder(clip, tmp_path, monkeypatch):
    """An idle decoder can have been started in another folder."""
    assert picked(clip, [1.0]) == [25]
    shutil.copyfile(clip, tmp_path / "other.mp4")
    monkeypatch.chdir(tmp_path)
    size = (tmp_path / "other.mp4").stat().st_size
    for video in ("other.mp4", VideoSource(path="other.mp4"), VideoSource(pieces=(Piece("other.mp4", 0, size),))):
        assert picked(video, [1.0]) == [25]
        assert probe(video).num_frames == 120
    assert len(read_clip("other.mp4")[0]) == 120


def reading_of(path):
    container = open_container(str(path))
    return StreamReader(container, video_stream(container))


def found(path, times, span=(0, None), num_bytes=None):
    span = picking.Span(*(None if t is None else Fraction(t) for t in span))
    reader = reading_of(path)
    times = [Fraction(t).limit_denominator(1000) for t in times]
    frames = picking.pick(reader, times, span, num_bytes or path.stat().st_size)
    return [number_of(reader.to_rgb(frame)) for frame, _ in frames], reader.num_good


def test_frames_above_the_maximum_size_are_refused(clip, monkeypatch):
    monkeypatch.setattr(containers, "MAX_PIXELS", 160 * 96)
    assert reading_of(clip).stream.width == 160
    monkeypatch.setattr(containers, "MAX_PIXELS", 160 * 96 - 1)
    with pytest.raises(MediaError, match="its header claims frames of 160x96 pixels"):
        reading_of(clip)


@pytest.mark.parametrize("name", REORDERED)
def test_any_selected_frames_equal_those_of_a_full_decoding(tmp_path, name):
    file, codec, options = REORDERED[name]
    path = write(tmp_path / file, FRAMES[:40], codec=codec, options=options)
    whole = read_clip(path)[0]
    assert numbers(whole) == list(range(40))
    for wanted in [*([i] for i in range(40)), [3, 4, 23], [0, 11, 12, 13, 35]]:
        with open_frames(path, [i / 25 for i in wanted]) as frames:
            assert np.array_equal(np.stack(list(frames)), whole[wanted]), wanted


def test_frames_before_the_start_of_an_edit_list_are_not_shown(tmp_path):
    path = cut_by_edit_list(write(tmp_path / "a.mp4", FRAMES[:40]), 10)
    assert picked(path, [0, 0.04, 0.3, 1.16]) == [10, 11, 17, 39]
    facts = probe(path)
    assert (facts.num_frames, facts.duration_s, facts.num_keyframes) == (30, 1.2, 0)
    assert numbers(read_clip(path, fps=25)[0]) == list(range(10, 40))


def test_short_runs_are_decoded_where_key_frames_are_many(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES, codec="mpeg4")  # a key frame every 12
    assert probe(path).num_keyframes == 10
    numbers_found, num_decoded = found(path, [0, 2, 4])
    assert numbers_found == [0, 50, 100]
    assert num_decoded <= 12


def test_frames_no_other_depends_on_are_left_out(tmp_path):
    """Of every three frames between two others only the one in the middle is needed for the rest."""
    options = {"x264-params": "keyint=40:min-keyint=40:bframes=3:b-adapt=0:scenecut=0"}
    path = write(tmp_path / "a.mp4", FRAMES[:40], options=options)
    assert found(path, [1.56]) == ([39], 20)
    assert found(path, [0.12]) == ([3], 4)


@pytest.mark.parametrize(("held_s", "decoded"), [(1.2, range(4, 50)), (0.05, range(120, 400))])
def test_what_cannot_be_held_is_read_in_windows_or_in_sequence(tmp_path, monkeypatch, held_s, decoded):
    path = write(tmp_path / "a.mp4", FRAMES, codec="mpeg4")
    monkeypatch.setattr(picking, "WINDOW_S", Fraction(1, 5))
    monkeypatch.setattr(picking, "KEEP_BYTES", int(path.stat().st_size * held_s / 4.8))
    numbers_found, num_decoded = found(path, [0.4, 0.44, 2.0, 4.4])
    assert numbers_found == [10, 11, 50, 110]
    assert num_decoded in decoded
    assert found(path, [0, 0.4, 2.65], span=(2, 4.6))[0] == [50, 60, 114]


def test_a_video_in_an_archive_is_read_without_unpacking(clip, tmp_path):
    for name, method in [("stored.zip", zipfile.ZIP_STORED), ("deflated.zip", zipfile.ZIP_DEFLATED)]:
        with zipfile.ZipFile(tmp_path / name, "w", method) as archive:
            archive.writestr("other", b"x" * 999)
            archive.write(clip, "a.mp4")
            info = archive.getinfo("a.mp4")
        offset = info.header_offset + 30 + len("a.mp4")
        piece = Piece(str(tmp_path / name), offset, info.compress_size)
        video = VideoSource(pieces=(piece,), unpacked_bytes=info.file_size if method else 0)
        assert picked(video, [0.4, 4]) == [10, 100]
        assert probe(video) == probe(clip)


def test_a_member_may_be_cut_between_two_files(clip, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(clip, "a.mp4")
    with tarfile.open(tmp_path / "a.tar") as archive:
        offset = archive.getmember("a.mp4").offset_data
    data, size = (tmp_path / "a.tar").read_bytes(), clip.stat().st_size
    cut = offset + size // 3
    (tmp_path / "aa").write_bytes(data[:cut])
    (tmp_path / "ab").write_bytes(data[cut:])
    pieces = (Piece(str(tmp_path / "aa"), offset, cut - offset), Piece(str(tmp_path / "ab"), 0, size - (cut - offset)))
    assert picked(VideoSource(pieces=pieces), [0.4, 4]) == [10, 100]


def test_errors_have_the_codes_of_open_clip(clip, tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 99)
    (tmp_path / "short.mp4").write_bytes(clip.read_bytes()[:-500])
    for name, code in [("gone", "missing_file"), ("empty", "zero_bytes"), ("text", "open_failed")]:
        assert code_of(open_frames, tmp_path / f"{name}.mp4", [0]) == code
        with pytest.raises(MediaError, match=code):
            probe(tmp_path / f"{name}.mp4")
    gone = VideoSource(pieces=(Piece(str(tmp_path / "gone.zip"), 0, 9),))
    assert code_of(open_frames, gone, [0]) == "missing_file"


def test_a_clip_cut_short_and_a_damaged_member(tmp_path):
    noise = np.random.default_rng(0)
    path = write(tmp_path / "a.mkv", [noise.integers(0, 255, (96, 160, 3), np.uint8) for _ in range(50)])
    (tmp_path / "short.mkv").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert code_of(open_frames, tmp_path / "short.mkv", [0.1]) in ("truncated", "decode_errors")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "a.mkv")
        info = archive.getinfo("a.mkv")
    piece = Piece(str(tmp_path / "a.zip"), info.header_offset + 30 + 5, info.compress_size // 2)
    assert code_of(open_frames, VideoSource(pieces=(piece,), unpacked_bytes=info.file_size), [0.1]) == "truncated"
    piece = Piece(str(tmp_path / "a.zip"), 0, info.compress_size)
    assert code_of(open_frames, VideoSource(pieces=(piece,), unpacked_bytes=info.file_size), [0.1]) == "open_failed"


def test_a_decoder_serves_picks_probes_and_clips_in_turn(clip):
    for _ in range(2):
        assert picked(clip, [1.0]) == [25]
        assert probe(clip).num_frames == 120
        with open_clip(clip, max_frames=3) as frames:
            assert numbers(frames) == [0, 1, 2]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["driving/d13.mp4", "driving/d3.mp4", "multi/two_person.mp4", "raw/vtest.avi"])
def test_real_clips_give_the_frames_of_a_full_decoding(shared, name):
    path = shared(name)
    facts = probe(path)
    wanted = sorted({0, facts.num_frames // 3, facts.num_frames // 2, facts.num_frames - 1})
    with open_frames(path, [n / facts.fps for n in wanted]) as frames:
        sparse = list(frames)
    with open_clip(path) as frames:
        whole = {n: frame.copy() for n, frame in enumerate(frames) if n in wanted}
    assert all(np.array_equal(a, whole[n]) for n, a in zip(wanted, sparse, strict=True))
