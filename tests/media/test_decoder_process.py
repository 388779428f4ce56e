"""The process that decodes: killed if it hangs, reused if idle, and ended with its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from exprbench.core.errors import UserError
from exprbench.core.processes import WorkerKilled, spawn
from exprbench.media import MediaError, open_clip, open_frames, probe, read_clip, write_video
from exprbench.media.clip import DecodedClip, DecoderProcess
from tests.killed import kill_decoders
from tests.media.test_clip import FRAMES
from tests.videos import number_of, numbered, numbers, write


def test_a_decoder_that_hangs_is_killed(tmp_path):
    os.mkfifo(tmp_path / "hangs.mp4")
    request = {"task": "decode", "path": str(tmp_path / "hangs.mp4"), "fps": None, "max_frames": None}
    with pytest.raises(MediaError, match="timeout"):
        DecodedClip(request, stall_s=1)


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
    assert_ends(int(result.stdout))


def assert_ends(pid):
    for _ in range(600):
        if not _alive(pid):
            return
        time.sleep(0.1)
    pytest.fail(f"decoder {pid} outlived its parent")


@pytest.mark.parametrize("alive_s", ["0", "1"])  # the parent can be gone before the decoder has started
def test_a_decoder_that_hangs_ends_with_its_parent(tmp_path, alive_s):
    os.mkfifo(tmp_path / "hangs.mp4")
    script = (
        "import os, signal, sys, time\nfrom exprbench.media.clip import DecoderProcess\n"
        "decoder = DecoderProcess.acquire()\n"
        "decoder.send({'task': 'decode', 'path': sys.argv[1], 'fps': None, 'max_frames': None})\n"
        "print(decoder.process.pid, flush=True)\ntime.sleep(float(sys.argv[2]))\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "hangs.mp4"), alive_s]
    assert_ends(int(subprocess.run(command, capture_output=True, text=True, check=False).stdout))


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


def test_an_idle_decoder_does_not_keep_the_memory_of_large_frames(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES[:5])
    write_video(tmp_path / "large.mp4", [np.zeros((4096, 8192, 3), np.uint8)] * 2, preset="ultrafast")
    read_clip(path)
    decoder = psutil.Process(DecoderProcess.idle[-1].process.pid)
    before = decoder.memory_info().rss
    with open_clip(tmp_path / "large.mp4") as clip:
        assert sum(1 for _ in clip) == 2
    read_clip(path)
    assert decoder.pid == DecoderProcess.idle[-1].process.pid
    assert decoder.memory_info().rss < before + 30_000_000


def test_idle_decoders_that_died_are_replaced(tmp_path):
    path = write(tmp_path / "a.mp4", FRAMES)
    read_clip(path)
    for decoder in DecoderProcess.idle:
        decoder.process.kill()
        decoder.process.wait()
    assert len(read_clip(path)[0]) == 50


def test_a_forked_process_has_its_own_decoders(tmp_path):
    """Two processes that share a decoder would get each other's frames."""
    path = write(tmp_path / "a.mp4", FRAMES)
    script = (
        "import os, sys\nfrom exprbench.media import open_clip, read_clip\nread_clip(sys.argv[1])\n"
        "child = os.fork()\nwith open_clip(sys.argv[1]) as clip:\n    print(clip.decoder.process.pid, flush=True)\n"
        "if child: os.waitpid(child, 0)\nelse: os._exit(0)"
    )
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert len(set(run.stdout.split())) == 2
