"""Frames are read as players show them: in the order of the decoder, upright, deinterlaced, in standard range."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from exprbench.media import MediaError, VideoSource, open_frames, probe, read_clip
from tests.videos import numbered, numbers

FRAMES = [numbered(i) for i in range(50)]


def encode(path, frames=FRAMES, *, codec="libx264", options=None, gop=50, prepare=None):
    """Write frames at 25 frames per second with two B-frames between others, if the codec has them."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        stream.codec_context.max_b_frames, stream.codec_context.gop_size = 2, gop
        if prepare:
            prepare(stream)
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


def remux(source, target, *, filter=None, skip=0, change=None):
    """Copy the packets of a file into another container."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        video = old.streams.video[0]
        stream = new.add_stream_from_template(video)
        bitstream = BitStreamFilterContext(filter, video) if filter else None
        for i, packet in enumerate(old.demux(video)):
            if packet.dts is None or i < skip:
                continue
            if change:
                change(packet)
            for part in bitstream.filter(packet) if bitstream else [packet]:
                part.stream = stream
                new.mux(part)
    return target


def without_times(tmp_path, name):
    """Write a stream with B-frames into a container that keeps no presentation times."""
    codec = {"hevc": "libx265", "mpeg4": "mpeg4"}.get(name.partition(".")[0], "libx264")
    source = encode(tmp_path / "a.mp4", codec=codec)
    if name.endswith((".h264", ".hevc")):
        return remux(source, tmp_path / name, filter=f"{name.rpartition('.')[2]}_mp4toannexb")
    if name.endswith(".avi"):
        return encode(tmp_path / name, codec=codec)
    return remux(source, tmp_path / name, change=decoding_time_only)


def decoding_time_only(packet):
    """Set the presentation time to the decoding time, as muxers without composition offsets do."""
    packet.dts += 2 * packet.duration  # from 0 on
    packet.pts = packet.dts


@pytest.mark.parametrize("name", ["h264.avi", "mpeg4.avi", "raw.h264", "hevc.hevc", "no_offsets.mp4"])
def test_without_presentation_times_frames_are_in_the_order_of_the_decoder(tmp_path, name):
    path = without_times(tmp_path, name)
    whole = read_clip(tmp_path / "a.mp4", fps=25)[0]
    frames = read_clip(path, fps=25)[0]
    assert numbers(frames) == list(range(50))
    if not name.endswith(".avi"):  # the same packets; the AVI was encoded separately
        assert np.array_equal(frames, whole)
    assert numbers(read_clip(path)[0]) == list(range(50))
    with open_frames(path, [0, 0.36, 0.4, 1.0, 9.0]) as picked:
        assert numbers(picked) == [0, 9, 10, 25, 49]


@pytest.mark.parametrize("name", ["h264.avi", "raw.h264", "hevc.hevc"])
def test_facts_and_spans_without_presentation_times(tmp_path, name):
    path = without_times(tmp_path, name)
    facts = probe(path)
    assert (facts.num_frames, facts.fps, facts.duration_s, facts.constant_rate) == (50, 25.0, 2.0, True)
    with open_frames(VideoSource(path=str(path), start_s=1.0, duration_s=0.4), [0, 0.2, 3]) as picked:
        assert numbers(picked) == [25, 30, 34]


@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(2)])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_all_eight_orientations_are_shown_as_by_players(tmp_path, degrees, mirrored, aspect):
    def prepare(stream):
        stream.codec_context.sample_aspect_ratio = aspect
        stream.set_display_rotation(degrees, hflip=mirrored)

    frame = numbered(5)
    path = encode(tmp_path / "a.mp4", [frame] * 3, prepare=prepare)
    expected = np.rot90(frame.repeat(int(aspect), axis=1), degrees // 90)
    expected = expected[:, ::-1] if mirrored else expected
    frames, info = read_clip(path)
    assert (info.height, info.width) == expected.shape[:2]
    assert np.abs(frames[0].astype(int) - expected).mean() < 5  # H.264; a wrong orientation differs by more than 20
    with open_frames(path, [0], short_side=48) as small:
        assert next(iter(small)).shape[0] == expected.shape[0] * 48 // min(expected.shape[:2])
    assert probe(path).shown_as_decoded == (degrees == 0 and not mirrored)


def test_an_interlaced_frame_becomes_one_of_its_fields(tmp_path):
    """x264 marks the lower field as the first one here."""
    woven = []
    for i in range(10):
        frame = numbered(2 * i + 1)
        frame[1::2] = numbered(2 * i)[1::2]
        woven.append(frame)
    path = encode(tmp_path / "a.mp4", woven, options={"x264-params": "tff=1"})
    assert numbers(read_clip(path)[0]) == [2 * i for i in range(10)]
    with open_frames(path, [0, 0.2], short_side=48) as small:
        assert [frame.shape for frame in small] == [(48, 80, 3)] * 2
    assert not probe(path).shown_as_decoded


def hdr(path, transfer):
    """Write a grey ramp from 0 to 1 as BT.2020 with a transfer characteristic."""
    ramp = np.tile(np.linspace(0, 65535, 160)[None, :, None], (96, 1, 3)).astype(np.uint16)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx265", rate=25, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, transfer, 9, 1
        for i in range(3):
            frame = av.VideoFrame.from_ndarray(ramp, format="rgb48le").reformat(format="yuv420p10le", dst_colorspace=9)
            frame.pts = i
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.mark.parametrize(("transfer", "signal"), [(16, 0.58), (18, 0.75)])
def test_hdr_is_mapped_to_standard_range(tmp_path, transfer, signal):
    """Diffuse white, 203 cd/m2, is a signal of 0.58 in PQ and 0.75 in HLG: bright, but below the highlights."""
    path = hdr(tmp_path / "a.mp4", transfer)
    row = read_clip(path, stall_s=600)[0][0][48].astype(int)
    assert np.abs(row - row[:, :1]).max() <= 3  # grey stays grey
    assert row[0].max() <= 2
    assert 120 < row[round(signal * 159), 0] < 200
    assert (np.diff(row[:, 0]) >= -2).all()
    assert not probe(path).shown_as_decoded


def test_bt2020_in_standard_range_is_left_as_it_is(tmp_path):
    assert probe(hdr(tmp_path / "a.mp4", 14)).shown_as_decoded


def test_hdr_that_ffmpeg_cannot_map_is_refused_by_name(tmp_path, monkeypatch):
    from exprbench.media import picture

    with av.open(str(hdr(tmp_path / "a.mp4", 18))) as file:
        frame = next(file.decode(video=0))
    monkeypatch.setattr(picture, "TO_SDR", "no_such_option=1")
    with pytest.raises(MediaError, match=r"open_failed: it is HDR \(HLG\).*convert it to SDR"):
        picture.to_sdr_progressive(frame, {})


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.mp4"])
def test_a_stream_that_starts_between_key_frames_is_named_by_its_start(tmp_path, name):
    path = remux(encode(tmp_path / f"whole-{name}", gop=25), tmp_path / name, skip=5)
    message = r"truncated: the stream starts without a key frame; its first 0\.[78]\d s cannot be decoded"
    with pytest.raises(MediaError, match=message):
        read_clip(path)
    with pytest.raises(MediaError, match=message):
        probe(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".heic"])
def test_an_image_is_no_video(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".heic":
        path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    else:
        save(path, FRAMES[0])
    for read in (read_clip, probe):
        with pytest.raises(MediaError, match=r"it is an image \(\w+\); a driver or a prediction is a video"):
            read(path)


def save(path, image):
    from PIL import Image

    Image.fromarray(image).save(path)


@pytest.mark.parametrize("aspect", [(60_000, 1), (1, 60_000)])
def test_a_frame_of_absurd_aspect_is_refused(tmp_path, aspect):
    def prepare(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)

    path = encode(tmp_path / "a.mp4", FRAMES[:2], prepare=prepare)
    data = path.read_bytes()
    box = data.index(b"pasp") + 4
    path.write_bytes(data[:box] + struct.pack(">II", *aspect) + data[box + 8 :])
    for read in (read_clip, probe):
        with pytest.raises(MediaError, match="open_failed: with square pixels"):
            read(path)
