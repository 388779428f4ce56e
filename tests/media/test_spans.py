"""Spans of a video, and their properties."""

from fractions import Fraction
from itertools import pairwise

import pytest

from exprbench.media import MediaError, VideoSource, open_frames, probe
from exprbench.media import sparse_decoder as picking
from tests.media.test_sparse import FRAMES, REORDERED, clip, code_of, picked, reading_of
from tests.media.test_writer import tone
from tests.videos import write

__all__ = ["clip"]


@pytest.mark.parametrize(
    ("times_ms", "fps", "constant"),
    [
        ([40 * i for i in range(24)], 25, True),
        ([round(1000 * i / 24) for i in range(24)], 24, True),  # rounded, as Matroska has them
        ([40 * i + 5 * (i % 2) for i in range(24)], 25, False),
        ([0, 40, 120, 160, 240, 280], 1000 / 56, False),
        ([40 * i + (20 if i > 11 else 0) for i in range(24)], 24.47, False),
    ],
)
def test_the_rate_is_the_mean_and_constant_within_two_milliseconds(tmp_path, times_ms, fps, constant):
    times = [Fraction(t, 1000) for t in times_ms]
    facts = probe(write(tmp_path / "a.mkv", FRAMES[: len(times)], times_s=times))
    assert (facts.num_frames, facts.constant_rate) == (len(times), constant)
    assert facts.fps == pytest.approx(fps, rel=0.01)
    assert facts.duration_s == pytest.approx(times_ms[-1] / 1000 + 1 / facts.fps, abs=0.002)


def test_the_facts_are_those_of_the_file(tmp_path, clip):
    plain = probe(clip)
    assert (plain.codec, plain.pixel_format, plain.rotation_deg) == ("h264", "yuv420p", 0)
    assert "mp4" in plain.container
    assert (plain.has_audio, plain.square_pixels) == (False, True)
    assert probe(tone(tmp_path / "loud.mp4", 0.1)).has_audio
    wide = probe(write(tmp_path / "wide.mp4", FRAMES[:5], aspect=Fraction(2, 1)))
    assert (wide.square_pixels, wide.width, wide.height) == (False, 320, 96)


@pytest.mark.parametrize(("codec", "copied"), [("h264", False), ("vp9", True)])
def test_packets_are_copied_only_if_none_depends_on_a_frame_outside(tmp_path, codec, copied):
    """Of an open group of pictures, frames before the key frame depend on those before the span."""
    name, encoder, options = REORDERED[codec]
    path = write(tmp_path / name, FRAMES[:40], codec=encoder, options=options)
    spans = {first: picking.Span(Fraction(first, 25), Fraction(first + 9, 25)) for first in (0, 12, 13)}
    found = {first: len(picking.packets_of(reading_of(path), span)) for first, span in spans.items()}
    assert found == {0: 9, 12: 9 if copied else 0, 13: 0}


def test_spans_are_clips_of_their_own(clip):
    span = VideoSource(path=str(clip), start_s=2.0, duration_s=1.0)
    assert picked(span, [0, 0.5, 0.99, 7]) == [50, 62, 74, 74]
    facts = probe(span)
    assert (facts.num_frames, facts.duration_s, facts.fps) == (25, 1.0, 25.0)
    assert picked(VideoSource(path=str(clip), start_s=4.0), [0, 3]) == [100, 119]


def test_neighbouring_spans_share_no_frame_and_lose_none(clip):
    ends = [0, 1.013, 2.004, 3.99, 4.8]
    found = []
    for start_s, end_s in pairwise(ends):
        span = VideoSource(path=str(clip), start_s=start_s, duration_s=end_s - start_s)
        found += picked(span, [k / 25 for k in range(probe(span).num_frames)])
    assert found == list(range(120))


@pytest.mark.parametrize(
    ("name", "codec", "offset_s"),
    [
        *(("a.mp4", "h264", 0), ("a.mp4", "h264", 4), ("a.mkv", "h264", 0)),
        *(("a.webm", "vp9", 0), ("a.mov", "mpeg4", 4), ("a.avi", "avi", 0)),
    ],
)
def test_any_span_holds_its_frames_and_no_other(tmp_path, name, codec, offset_s):
    """At any place of key frames, order of decoding and start of the timestamps."""
    _, encoder, options = REORDERED[codec]
    times = [offset_s + Fraction(i, 25) for i in range(40)]
    path = write(tmp_path / name, FRAMES[:40], codec=encoder, options=options, times_s=times)
    for first, last in [(s, e) for s in (0, 1, 12, 23) for e in (s + 1, s + 5, 38)]:
        span = VideoSource(path=str(path), start_s=first / 25, duration_s=(last - first) / 25)
        times = [*(k / 25 for k in range(last - first)), 9]
        assert picked(span, times) == [*range(first, last), last - 1]
        if codec != "avi":  # its packets have no times: it is the header that is asked
            assert probe(span).num_frames == last - first


def test_a_span_beyond_the_end_is_too_short(clip):
    span = VideoSource(path=str(clip), start_s=9, duration_s=1)
    assert code_of(open_frames, span, [0]) == "too_short"
    with pytest.raises(MediaError, match="too_short"):
        probe(span)
