"""Decoding on a GPU, with stand-ins: frames in the formats of a GPU, and one that refuses."""

import os

import av
import numpy as np
import pytest

from exprbench.core.errors import UserError
from exprbench.media import containers, probe, read_clip
from exprbench.media.containers import VARIABLE, open_container, using_decoder, video_stream
from exprbench.media.stream import StreamReader
from tests.media.test_players import encode, hdr
from tests.videos import noise, numbered, write

GPU_FORMAT = {"yuv420p": "nv12", "yuvj420p": "nv12", "yuv420p10le": "p010le"}


def as_from_gpu(frame):
    """A frame as a GPU returns it: with the two chroma planes interleaved."""
    return frame.reformat(format=GPU_FORMAT[frame.format.name])


def write_kind(path, kind):
    if kind == "HDR":
        hdr(path, 16)
    elif kind == "interlaced":
        encode(path, [numbered(i) for i in range(4)], options={"x264-params": "tff=1"})
    else:
        formats = {"full range": "yuvj420p", "10 bits": "yuv420p10le"}
        write(path, noise(4), pix_fmt=formats.get(kind, "yuv420p"))
    return path


@pytest.mark.parametrize("kind", ["plain", "full range", "10 bits", "interlaced", "HDR"])
@pytest.mark.parametrize("short_side", [None, 48])
def test_frames_of_a_gpu_become_the_same_pictures(tmp_path, kind, short_side):
    pictures, formats = [], []
    for convert in (lambda frame: frame, as_from_gpu):
        with open_container(str(write_kind(tmp_path / "a.mp4", kind))) as container:
            reader = StreamReader(container, video_stream(container), short_side)
            frames = [convert(frame) for frame in reader.frames()]
            pictures.append([reader.to_rgb(frame) for frame in frames])
            formats.append(reader.as_in_software(frames[0]).format.name)
    assert np.array_equal(*pictures)
    assert formats[0] == formats[1]
    assert np.ptp(pictures[0]) > 100


@pytest.fixture
def opened(monkeypatch):
    """How files are opened: True with a GPU. Its stand-in cannot decode, as if it had no memory."""
    calls, av_open = [], av.open

    def open_file(*args, hwaccel=None, **options):
        calls.append(hwaccel is not None)
        if hwaccel:
            raise av.error.ExternalError(1, "out of memory")
        return av_open(*args, **options)

    monkeypatch.setenv(VARIABLE, "nvdec")
    monkeypatch.setattr(containers, "_nvdec", lambda: "a GPU")
    monkeypatch.setattr(av, "open", open_file)
    return calls


def test_software_decodes_what_the_gpu_refuses(tmp_path, opened, monkeypatch):
    path = str(write(tmp_path / "a.mp4", noise(4)))
    opened.clear()
    with open_container(path) as container:
        assert len(list(StreamReader(container, video_stream(container)).frames())) == 4
    assert opened == [False, True]
    opened.clear()
    monkeypatch.setattr(containers, "_nvdec", lambda: None)
    with open_container(path) as container:
        assert len(list(container.decode(video=0))) == 4
    assert opened == [False]


def test_codecs_that_are_not_defined_to_the_bit_are_left_to_software(tmp_path, opened):
    path = str(write(tmp_path / "a.avi", noise(4), codec="mpeg4"))
    opened.clear()
    open_container(path).close()
    assert opened == [False]


def test_the_decoder_is_software_outside_of_the_block(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(containers, "_nvdec", lambda: "a GPU")
    with using_decoder("nvdec"):
        assert os.environ[VARIABLE] == "nvdec"
    assert os.environ[VARIABLE] == "software"


def test_without_a_gpu_nvdec_is_an_error_and_files_are_read_all_the_same(tmp_path, monkeypatch):
    """FFmpeg finds no GPU if none is visible."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    containers._nvdec.cache_clear()
    message = "^--decoder is nvdec, but FFmpeg finds no NVIDIA GPU with its driver; use --decoder software$"
    with pytest.raises(UserError, match=message), using_decoder("nvdec"):
        pass
    path = write(tmp_path / "a.mp4", noise(4))
    monkeypatch.setenv(VARIABLE, "nvdec")
    assert len(read_clip(path)[0]) == probe(path).num_frames == 4
    containers._nvdec.cache_clear()
