import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from exprbench.core.errors import UserError
from exprbench.core.processes import WorkerKilled, spawn
from exprbench.media import MediaError, open_clip, open_frames, probe, read_clip, write_frames, write_image, write_video
from exprbench.media.clip import DecoderProcess
from tests.killed import kill_decoders
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


def test_times_count_from_the_first_frame(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES, times_s=[4 + Fraction(i, 25) for i in range(50)])
    assert numbers(read_clip(path, fps=25)[0]) == list(range(50))


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


def test_max_frames_stops_early_and_the_decoder_serves_again(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES)
    assert numbers(read_clip(path, fps=25, max_frames=7)[0]) == list(range(7))
    assert numbers(read_clip(path, fps=50, max_frames=4)[0]) == [0, 0, 1, 1]
    assert len(read_clip(path, fps=25)[0]) == 50


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


def test_a_folder_with_a_gap_is_truncated(tmp_path):
    write_frames(tmp_path / "case", FRAMES[:5])
    (tmp_path / "case" / "00002.png").unlink()
    assert code_of(tmp_path / "case") == "truncated"


def test_a_folder_of_mixed_sizes_or_without_frames(tmp_path):
    (tmp_path / "empty").mkdir()
    assert code_of(tmp_path / "empty") == "no_video_stream"
    write_frames(tmp_path / "case", [FRAMES[0], FRAMES[0][:48]])
    assert code_of(tmp_path / "case") == "decode_errors"


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


def test_a_playlist_cannot_name_other_files(tmp_path):
    secret = write(tmp_path / "secret.mp4", FRAMES[:5])
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{secret}'\n")
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    assert code_of(tmp_path / "list.mp4") == "open_failed"
    assert code_of(tmp_path / "list.m3u8") == "open_failed"


def test_a_name_is_never_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.mp4", FRAMES[:5]).rename(tmp_path / "pipe:0")
    assert len(read_clip("pipe:0")[0]) == 5
    assert code_of("http://127.0.0.1:9/a.mp4") == "missing_file"


def test_a_file_cut_short_is_truncated(tmp_path):
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0)
    write_video(path, (noise.integers(0, 255, (96, 160, 3), np.uint8) for _ in range(50)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert code_of(path) == "truncated"


def test_damaged_packets_are_named_after_the_frames_that_decode(tmp_path):
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0)
    write_video(path, (noise.integers(0, 255, (96, 160, 3), np.uint8) for _ in range(50)))
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 40_000
    data[start : start + 5000] = bytes(noise.integers(0, 255, 5000, np.uint8))
    path.write_bytes(data)
    assert code_of(path) == "decode_errors"


def test_a_decoder_that_hangs_is_killed(tmp_path):
    os.mkfifo(tmp_path / "hangs.mp4")
    assert code_of(tmp_path / "hangs.mp4", stall_s=1) == "timeout"


def test_a_decoder_that_crashes_takes_nothing_down(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES * 10)
    with open_clip(path) as clip:
        os.kill(clip.decoder.process.pid, signal.SIGSEGV)
        with pytest.raises(MediaError, match="crashed"):
            list(clip)
    assert len(read_clip(path)[0]) == 500


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("after", [1, 30, 149])
def test_a_decoder_that_is_killed_from_outside_costs_nothing_but_time(tmp_path, number, after):
    path = write(tmp_path / "a.mp4", [numbered(i) for i in range(100)], fps=50)
    seen = []
    with open_clip(path, fps=75) as clip:
        process = clip.decoder.process
        for frame in clip:
            seen.append(number_of(frame))
            if len(seen) == after and process.poll() is None:
                process.send_signal(number)
                process.wait()
    assert len(seen) == 150
    assert seen == numbers(read_clip(path, fps=75)[0])


@pytest.mark.parametrize("read", [read_clip, probe, lambda path: list(open_frames(path, [0.0]))])
def test_decoders_that_are_killed_again_and_again_are_not_the_files_fault(tmp_path, monkeypatch, read):
    path = write(tmp_path / "a.mp4", FRAMES[:5])
    kill_decoders(monkeypatch, signal.SIGKILL)
    with pytest.raises(WorkerKilled, match="its decoder process was ended by SIGKILL, 3 times") as error:
        read(path)
    assert not isinstance(error.value, MediaError)


def test_a_decoder_killed_while_idle_is_replaced(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES)
    read_clip(path)
    for decoder in DecoderProcess.idle:
        decoder.process.kill()
        decoder.process.wait()
    assert probe(path).num_frames == 50


def test_a_decoder_that_cannot_start_is_not_the_files_fault(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", FRAMES[:5])
    monkeypatch.setattr(DecoderProcess, "idle", [])
    monkeypatch.setattr(
        "exprbench.media.clip.spawn", lambda _, **options: spawn(["exprbench.no_such_module"], **options)
    )
    with pytest.raises(UserError, match="exited with status 1 at its start; set EXPRBENCH_DEBUG=1"):
        read_clip(path)


def test_the_decoder_ends_with_its_parent(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES)
    script = (
        "import os, signal, sys\nfrom exprbench.media import open_clip\n"
        "clip = open_clip(sys.argv[1])\nprint(clip.decoder.process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    pid = int(result.stdout)
    for _ in range(1200):
        if not _alive(pid):
            return
        time.sleep(0.1)
    pytest.fail(f"decoder {pid} outlived its parent")


def _alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_idle_decoders_are_reused(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES)
    read_clip(path)
    before = {d.process.pid for d in DecoderProcess.idle}
    read_clip(path)
    assert {d.process.pid for d in DecoderProcess.idle} == before


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
        write_video(path, (np.full((720, 1280, 3), i % 255, np.uint8) for i in range(count)))
        run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(run.stdout))
    assert peaks[1] - peaks[0] < 20_000  # kilobytes; 270 frames are 746 MB


@pytest.mark.shared
@pytest.mark.parametrize("name", ["d0", "d10", "d11", "d12", "d13", "d20", "d3", "jgz", "s29", "trump", "biden"])
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
