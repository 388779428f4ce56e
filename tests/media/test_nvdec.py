"""Decoding on a GPU, with stand-ins: frames in the formats of a GPU, and one that refuses."""

import os

import av
import numpy as np
import pytest
from av.codec import hwaccel

from exprbench.core.errors import UserError
from exprbench.media import containers, probe, read_clip
from exprbench.media.containers import VARIABLE, open_container, using_decoder, video_stream
from exprbench.media.stream import StreamReader
from tests.media.test_players import encode
from tests.videos import noise, numbered, write

GPU_FORMAT = {"yuv420p": "nv12", "yuvj420p": "nv12", "yuv420p10le": "p010le"}


def as_from_gpu(frame):
    """A frame as a GPU returns it: with the two chroma planes interleaved."""
    return frame.reformat(format=GPU_FORMAT[frame.format.name])


def write_kind(path, kind):
    if kind == "interlaced":
        return encode(path, [numbered(i) for i in range(4)], options={"x264-params": "tff=1"})
    pix_fmt = {"full range": "yuvj420p", "10 bits": "yuv420p10le", "HDR": "yuv420p10le"}.get(kind, "yuv420p")
    options = {"x264-params": "transfer=smpte2084:colormatrix=bt2020nc:colorprim=bt2020"} if kind == "HDR" else None
    return write(path, noise(4), pix_fmt=pix_fmt, options=options)


@pytest.mark.parametrize("kind", ["plain", "full range", "10 bits", "interlaced", "HDR"])
def test_frames_of_a_gpu_become_the_same_pictures(tmp_path, kind):
    path = str(write_kind(tmp_path / "a.mp4", kind))
    pictures, formats, graphs = [], [], {}
    for is_on_gpu in (False, True):
        for short_side in (None, 48):
            with open_container(path) as container:
                reader = StreamReader(container, video_stream(container), short_side, graphs=graphs)
                reader.is_on_gpu = is_on_gpu
                frames = [as_from_gpu(frame) if is_on_gpu else frame for frame in reader.frames()]
                pictures.append(np.stack([reader.to_rgb(frame) for frame in frames]))
                formats.append(reader.as_in_software(frames[0]).format.name)
    assert np.array_equal(pictures[0], pictures[2])
    assert np.array_equal(pictures[1], pictures[3])
    assert len(set(formats)) == 1
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
    monkeypatch.setattr(containers, "_nvdec", lambda: ("settings", "device"))
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


class Gpu:
    """PyAV's `HWAccel` for a GPU that is there; a device cannot be created from a device."""

    def __init__(self, kind, options):
        self.kind, self.options, self.is_device = kind, options, False

    def create(self, codec):
        assert not self.is_device
        device = Gpu(self.kind, self.options)
        device.is_device = True
        return device


def test_files_are_opened_with_settings_while_a_device_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(hwaccel, "HWAccel", Gpu)
    monkeypatch.setenv(VARIABLE, "nvdec")
    path, found = str(write(tmp_path / "a.mp4", noise(4))), []
    containers._nvdec.cache_clear()
    monkeypatch.setattr(containers, "_on_gpu", lambda container, source, settings: found.append(settings))
    open_container(path)
    open_container(path)
    assert found[0] is found[1]
    assert not found[0].is_device
    assert containers._nvdec()[1].is_device
    containers._nvdec.cache_clear()


def test_codecs_that_are_not_defined_to_the_bit_are_left_to_software(tmp_path, opened):
    path = str(write(tmp_path / "a.avi", noise(4), codec="mpeg4"))
    opened.clear()
    open_container(path).close()
    assert opened == [False]


def test_the_decoder_is_software_outside_of_the_block(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(containers, "_nvdec", lambda: ("settings", "device"))
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
