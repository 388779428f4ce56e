"""Sound keeps its offset to the picture: a click is heard at the same time in the copy."""

from fractions import Fraction

import av
import numpy as np
import pytest

from exprbench.media import write_video
from tests.videos import numbered

FRAMES = [numbered(i) for i in range(50)]
CLICK_S = 0.8  # after the first frame


def clicking(path, *, rate=48_000, layout="stereo", codec="aac", sound_s=0.0, picture_s=0.0, silent_first=False):
    """Write 2 s of video and sound that start at the given times, with a click at `CLICK_S` after the first frame."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        tracks = [out.add_stream(codec, rate=rate) for _ in range(1 + silent_first)]
        for track in tracks:
            track.layout = layout
        if silent_first:
            tracks[0].disposition, tracks[1].disposition = av.stream.Disposition(0), av.stream.Disposition.default
        for i, picture in enumerate(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round((picture_s + i / 25) * 90_000), Fraction(1, 90_000)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        for track in tracks:
            for frame in sound(rate, layout, sound_s, picture_s + CLICK_S, silent=silent_first and track is tracks[0]):
                out.mux(track.encode(frame))
            out.mux(track.encode())
    return path


def sound(rate, layout, start_s, click_s, silent):
    """Yield frames of silence with a click."""
    wave = np.zeros(round((click_s + 1.2) * rate) - round(start_s * rate), np.float32)
    click = round((click_s - start_s) * rate)
    wave[click : click + rate // 50] = 0 if silent else np.sin(np.arange(rate // 50) * 0.3)
    for first in range(0, len(wave), 1024):
        part = wave[first : first + 1024].repeat(av.AudioLayout(layout).nb_channels)[None]
        frame = av.AudioFrame.from_ndarray(part, format="flt", layout=layout)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = round(start_s * rate) + first
        yield frame


def click_heard_s(path):
    """Return the time of the loudest sound, after the first frame of the video."""
    with av.open(str(path)) as file:
        origin_s = file.streams.video[0].start_time * file.streams.video[0].time_base
        best = (0.0, 0.0)
        mixer = av.AudioResampler(format="fltp", layout="mono")
        for decoded in file.decode(file.streams.best("audio")):
            pts, time_base = decoded.pts, decoded.time_base
            (frame,) = mixer.resample(decoded)
            frame.pts, frame.time_base = pts, time_base
            samples = np.abs(frame.to_ndarray()).max(0)
            at = int(samples.argmax())
            best = max(best, (float(samples[at]), float(frame.pts * frame.time_base - origin_s) + at / frame.rate))
    assert best[0] > 0.1
    return best[1]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("together.mp4", {}),
        ("late_sound.mp4", {"sound_s": 0.5}),
        ("late_sound.mkv", {"sound_s": 0.46}),
        ("late_picture.mp4", {"picture_s": 0.46}),
        ("late_picture.ts", {"picture_s": 0.3}),
        ("both_late.mkv", {"picture_s": 0.3, "sound_s": 0.7}),
        ("rate.mkv", {"rate": 22_050, "sound_s": 0.5}),
        ("unusual_rate.mkv", {"rate": 37_800, "codec": "pcm_s16le", "sound_s": 0.3}),
        ("eight_bits.mkv", {"rate": 8000, "codec": "pcm_u8", "picture_s": 0.3}),
        ("surround.mp4", {"layout": "5.1", "sound_s": 0.5}),
        ("seven_channels.mkv", {"layout": "7.1", "codec": "pcm_s16le", "picture_s": 0.5}),
        ("two_tracks.mkv", {"silent_first": True, "sound_s": 0.5}),
    ],
)
def test_a_click_is_heard_when_it_was(tmp_path, name, options):
    source = clicking(tmp_path / name, **options)
    assert click_heard_s(source) == pytest.approx(CLICK_S, abs=0.03)
    write_video(tmp_path / "out.mp4", FRAMES, audio=source)
    assert click_heard_s(tmp_path / "out.mp4") == pytest.approx(CLICK_S, abs=0.03)
    with av.open(str(tmp_path / "out.mp4")) as file:
        channels = file.streams.audio[0].codec_context.channels
    assert channels == (6 if options.get("layout") == "5.1" else 2)


def test_a_gap_in_the_sound_stays(tmp_path):
    with av.open(str(tmp_path / "gap.mkv"), "w") as out:
        track = out.add_stream("pcm_s16le", rate=16_000)
        track.layout = "mono"
        for start_s in (0.0, 1.0):
            wave = np.full((1, 1600), 0 if start_s == 0 else 0.5, np.float32)
            frame = av.AudioFrame.from_ndarray((wave * 32_000).astype(np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), round(start_s * 16_000)
            out.mux(track.encode(frame))
        out.mux(track.encode())
    write_video(tmp_path / "out.mp4", FRAMES, audio=tmp_path / "gap.mkv")
    assert 0.99 < click_heard_s(tmp_path / "out.mp4") < 1.11


def test_damaged_sound_does_not_cost_the_frames(tmp_path):
    source = clicking(tmp_path / "a.mkv")
    data = bytearray(source.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    source.write_bytes(data)
    assert write_video(tmp_path / "out.mp4", FRAMES, audio=source) == 50


def test_a_folder_of_frames_has_no_sound(tmp_path):
    (tmp_path / "frames").mkdir()
    write_video(tmp_path / "out.mp4", FRAMES[:3], audio=tmp_path / "frames")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert not file.streams.audio
