"""Moments with boxes, and the videos that the report plays."""

import base64

import cv2
import numpy as np
import pytest

from exprbench.media import VideoSource, probe, read_clip
from multiexpr.reporting.previews import (
    COUNTS,
    DETECTED,
    DOES_NOT_COUNT,
    Mark,
    Moment,
    moments,
    moments_grid,
    preview_name,
    write_preview,
)
from multiexpr.selection.explain import explain
from tests.multiexpr.collection import encode
from tests.multiexpr.made import dropped_at, fill, good


def decoded(data):
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def ramp(width, height, count=50):
    """Frames of one colour each, which tells their number."""
    return [np.full((height, width, 3), (4 * i + 20, 40, 240 - 4 * i), np.uint8) for i in range(count)]


@pytest.mark.parametrize(
    ("width", "height", "rows", "columns"), [(64, 96, 1, 4), (96, 96, 1, 3), (160, 90, 2, 2), (400, 96, 3, 1)]
)
def test_separate_moments_are_shown_in_a_grid_that_fits_their_shape(tmp_path, width, height, rows, columns):
    picture = decoded(moments_grid(VideoSource(path=encode(tmp_path / "a.mp4", ramp(width, height)))))
    side = 190 // rows
    assert picture.shape[:2] == (rows * side, columns * round(width * side / height))
    parts = [part for row in np.split(picture, rows) for part in np.split(row, columns, axis=1)]
    frames = [int(50 * (i + 0.5) / len(parts)) for i in range(len(parts))]
    expected = [(4 * frame + 20, 40, 240 - 4 * frame) for frame in frames]
    np.testing.assert_allclose([np.median(part, axis=(0, 1)) for part in parts], expected, atol=12)


def test_the_closest_known_moments_are_shown_with_their_boxes(tmp_path):
    video = VideoSource(path=encode(tmp_path / "a.mp4", ramp(96, 96)))
    box = (0.2, 0.3, 0.8, 0.9)
    known = [Moment(t, (Mark(box, "1", COUNTS),) if t == 1.2 else ()) for t in (0.4, 1.2, 1.6)]
    first, middle, last = np.split(decoded(moments_grid(video, known)), 3, axis=1)
    for part, frame in ((first, 10), (middle, 30), (last, 40)):
        np.testing.assert_allclose(np.median(part, axis=(0, 1)), (4 * frame + 20, 40, 240 - 4 * frame), atol=12)
    np.testing.assert_allclose(middle[57:171, 152].mean(0), COUNTS, atol=40)  # right edge of the box
    np.testing.assert_allclose(middle[171, 40:140].mean(0), COUNTS, atol=40)  # lower edge
    assert np.ptp(first[:, :160].reshape(-1, 3), axis=0).max() < 12  # no box


def test_a_person_at_the_upper_edge_has_a_number_inside_the_picture(tmp_path):
    video = VideoSource(path=encode(tmp_path / "a.mp4", ramp(400, 96)))
    known = [Moment(1.0, (Mark((0.1, 0.0, 0.3, 0.5), "2", DOES_NOT_COUNT),))]
    picture = decoded(moments_grid(video, known))
    np.testing.assert_allclose(np.median(picture[2:13, 26:30], axis=(0, 1)), DOES_NOT_COUNT, atol=40)


def marks(workspace, recipe, clip):
    fill(workspace, [[clip]])
    row = {"clip_id": "0" * 20, "path": "", "member": ""}
    return moments(explain(workspace, recipe, 0, row))


def test_marks_number_the_measured_faces_and_show_who_counts(workspace, recipe):
    boxes = [0.1, 0.2, 0.3, 0.5, None, None, None, None, *[0.6, 0.2, 0.8, 0.5] * 2]
    first, second = marks(workspace, recipe, good(face_luma=[0.01, 0.4], face_moment_box=boxes))
    assert first == Moment(
        0.5, (Mark((0.1, 0.2, 0.3, 0.5), "1", DOES_NOT_COUNT), Mark((0.6, 0.2, 0.8, 0.5), "2", COUNTS))
    )
    assert second == Moment(1.5, (Mark((0.6, 0.2, 0.8, 0.5), "2", COUNTS),))  # the other face is not visible then


def test_clips_without_measured_faces_show_the_detected_people(workspace, recipe):
    found = marks(workspace, recipe, dropped_at("people", length_s=5.0))
    assert [moment.time_s for moment in found] == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert found[4].marks == tuple(Mark(box, "", DETECTED) for box in ((0.1, 0.1, 0.4, 0.9), (0.5, 0.1, 0.9, 0.9)))


def test_clips_without_people_have_no_marks(workspace, recipe):
    assert marks(workspace, recipe, dropped_at("container")) == []
    assert marks(workspace, recipe, {"container": "truncated"}) == []


def test_a_preview_is_the_beginning_of_the_clip_small_and_without_sound(tmp_path):
    video = VideoSource(path=encode(tmp_path / "a.mp4", ramp(640, 360, count=300)), start_s=1.0)
    write_preview(video, tmp_path / "p.mp4")
    frames, info = read_clip(tmp_path / "p.mp4")
    assert (info.width, info.height, info.fps, info.has_audio) == (426, 240, 12.5, False)
    assert len(frames) == 100  # 8 s
    facts = probe(VideoSource(path=tmp_path / "p.mp4"))
    assert (facts.codec, facts.pixel_format) == ("h264", "yuv420p")


def test_a_preview_that_exists_is_kept_and_changes_its_name_with_the_file(tmp_path):
    (tmp_path / "p.mp4").write_bytes(b"kept")
    write_preview(VideoSource(path=tmp_path / "missing.mp4"), tmp_path / "p.mp4")
    assert (tmp_path / "p.mp4").read_bytes() == b"kept"
    clip = {"clip_id": "ab", "stamp": "1:1"}
    assert preview_name(clip) == preview_name(dict(clip))
    assert preview_name(clip) != preview_name({**clip, "stamp": "1:2"})
    assert preview_name(clip).endswith(".mp4")
