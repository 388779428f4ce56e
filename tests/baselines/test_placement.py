"""Timing, geometry and pictures in closed form, without running a method."""

import numpy as np
import pytest

from baselines.accept import check_output, find_output
from baselines.geometry import Rect, face_squares, whole
from baselines.normalize import RawOutput, normalize
from baselines.placement import covered_share, feather, locate, panel_of, paste, place
from baselines.spec import OutputSpec
from baselines.timing import covered_frames, nearest_frames, shown_frames
from exprbench.core.errors import ItemError
from exprbench.media import write_image, write_video
from tests.people import person
from tests.videos import numbered


def spec(**values):
    return OutputSpec(find=("x",), **values)


@pytest.mark.parametrize(
    ("values", "num_frames", "shown"),
    [
        ({}, 5, [0, 1, 2, 3, 4]),
        ({"frames": "4k+1"}, 8, [0, 1, 2, 3, 4]),
        ({"frames": "4k+1", "max_frames": 5}, 100, [0, 1, 2, 3, 4]),
        ({"frames": "4k"}, 7, [0, 1, 2, 3]),
        ({"first": 1}, 4, [1, 2, 3]),
        ({"max_frames": 2}, 4, [0, 1]),
        ({"frames": "sampled", "fps": 12}, 10, [0, 2, 4, 6, 8]),
        ({"frames": "sampled", "fps": 12, "count": 7}, 10, [0, 2, 4, 6, 8, 9, 9]),
    ],
)
def test_the_driver_frames_that_an_output_shows(values, num_frames, shown):
    assert shown_frames(spec(**values), num_frames, 25) == shown


def test_skyreels_shows_47_frames_of_a_125_frame_driver():
    shown = shown_frames(spec(frames="sampled", fps=12, count=47), 125, 25)
    assert len(shown) == 47
    assert shown[:4] == [0, 2, 4, 6]
    assert shown[-1] == 95
    assert covered_frames(shown, 125, 25 / 12) == 96


def test_the_nearest_frame_is_shown_and_the_earlier_of_two():
    assert nearest_frames([0, 2, 4], 5) == [0, 0, 1, 1, 2]
    assert nearest_frames([1, 2, 3], 4) == [0, 0, 1, 2]
    assert covered_frames([0, 1, 2], 10, 1.0) == 3
    assert covered_frames([], 10, 1.0) == 0


def test_a_square_around_a_face_is_inside_the_picture_and_contains_the_face():
    track = person(20, x=0.9)
    (square,) = face_squares([track], 320, 200)
    assert square.width == square.height
    assert 0 <= square.x <= 320 - square.width
    assert 0 <= square.y <= 200 - square.height
    assert track.box[:, 1].min() * 200 >= square.y
    assert track.box[:, 3].max() * 200 <= square.y + square.height


def test_squares_of_neighbours_do_not_overlap():
    left, right = face_squares([person(9, x=0.3), person(9, x=0.6)], 640, 480)
    assert left.x + left.width <= right.x
    with pytest.raises(ItemError, match="faces_overlap"):
        face_squares([person(9, x=0.45), person(9, x=0.5)], 640, 480)


def test_a_picture_of_odd_size_loses_its_last_row_and_column():
    assert whole(721, 405) == Rect(x=0, y=0, width=720, height=404)


@pytest.mark.parametrize(
    ("fit", "result", "box", "part", "target"),
    [
        ("same", (720, 488), (600, 400), (0, 0, 720, 488), (10, 20, 600, 400)),
        ("stretch", (512, 512), (600, 400), (0, 0, 512, 512), (10, 20, 600, 400)),
        ("inside", (512, 512), (600, 300), (0, 128, 512, 256), (10, 20, 600, 300)),
        ("inside", (512, 512), (256, 512), (128, 0, 256, 512), (10, 20, 256, 512)),
        ("height", (720, 480), (240, 240), (120, 0, 480, 480), (10, 20, 240, 240)),
        ("height", (720, 480), (480, 240), (0, 0, 720, 480), (70, 20, 360, 240)),
    ],
)
def test_where_a_result_belongs(fit, result, box, part, target):
    box = Rect(x=10, y=20, width=box[0], height=box[1])
    placement = place(spec(fit=fit), result, box, None)
    assert (placement.part, placement.target) == tuple(
        Rect(x=x, y=y, width=w, height=h) for x, y, w, h in (part, target)
    )


def test_a_crop_is_located_to_a_pixel():
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 255, (32, 32, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    import cv2

    crop = cv2.resize(picture[40:360, 100:420], (512, 512), interpolation=cv2.INTER_CUBIC)
    left, top, width = (512 * value for value in locate(crop, picture))
    assert (left, top, width) == pytest.approx((100, 40, 320), abs=1)
    with pytest.raises(ItemError, match="crop_not_located"):
        locate(rng.integers(0, 255, (64, 64, 3), np.uint8), picture)


def test_a_panel_is_cut_out_without_its_gutter():
    grid = np.zeros((14, 38, 3), np.uint8)
    grid[2:12, 14:24] = 7
    assert (panel_of(grid, spec(panels=3, panel=1, gutter=2)) == 7).all()
    assert panel_of(grid, spec(panels=3, panel=1, gutter=2)).shape == (10, 10, 3)


def test_a_crop_is_located_by_the_panel_that_shows_it_whatever_the_result_shows(tmp_path):
    picture = np.kron(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    source, output = tmp_path / "source.png", tmp_path / "output.mp4"
    write_image(source, picture)
    crop = np.ascontiguousarray(picture[20:148, 40:168])
    write_video(output, (np.hstack([crop, numbered(i, 128, 128)]) for i in range(3)))
    raw = RawOutput(path=output, box=whole(256, 256), staged=source, crop_image=None, num_frames=3, fps=25)
    done = normalize([raw], spec(panels=2, panel=1, crop_panel=0), source, tmp_path / "made.mp4", fps=25)
    target = done["parts"][0]["target"]
    assert [target[name] for name in ("x", "y", "width", "height")] == pytest.approx([40, 20, 128, 128], abs=1)
    with pytest.raises(ItemError, match="crop_not_located"):
        normalize([raw], spec(panels=2, panel=1, crop_panel=1), source, tmp_path / "made.mp4", fps=25)


def test_pasting_over_the_whole_picture_replaces_it_and_a_part_has_soft_borders_inside():
    canvas, result = np.zeros((100, 200, 3), np.uint8), np.full((50, 100, 3), 200, np.uint8)
    paste(canvas, result, place(spec(fit="stretch"), (100, 50), Rect(x=0, y=0, width=200, height=100), None))
    assert (canvas == 200).all()
    canvas[:] = 0
    placement = place(spec(fit="stretch"), (100, 50), Rect(x=0, y=0, width=100, height=100), None)
    paste(canvas, result, placement)
    assert (canvas[:, 100:] == 0).all()  # nothing outside
    assert (canvas[:, :90] == 200).all()  # no border where the picture ends
    assert 0 < canvas[50, 98, 0] < canvas[50, 96, 0] < 200
    assert covered_share(placement, 200, 100) == 0.5


def test_weights_of_neighbours_are_between_0_and_1():
    mask = feather(Rect(x=5, y=0, width=50, height=40), 100, 80)
    assert mask.shape == (40, 50)
    assert 0 < mask.min() < mask.max() == 1
    assert (mask[0, 10:40] == 1).all()


def video(path, frames):
    write_video(path, frames)
    return path


def test_outputs_that_are_short_blank_frozen_or_truncated_are_refused(tmp_path):
    good = [numbered(i) for i in range(12)]
    path = video(tmp_path / "good.mp4", good)
    assert check_output(path, spec(), 12, needs_face=False).num_frames == 12
    with pytest.raises(ItemError, match="wrong_length: it has 12 frames; expected 13"):
        check_output(path, spec(), 13, needs_face=False)
    with pytest.raises(ItemError, match="wrong_length"):
        check_output(path, spec(), 11, needs_face=False)
    assert check_output(path, spec(longer=True), 11, needs_face=False).num_frames == 12
    black = video(tmp_path / "black.mp4", [frame * 0 for frame in good])
    with pytest.raises(ItemError, match="blank_output"):
        check_output(black, spec(), 12, needs_face=False)
    frozen = video(tmp_path / "frozen.mp4", good[:1] * 12)
    with pytest.raises(ItemError, match="frozen_output"):
        check_output(frozen, spec(), 12, needs_face=False)
    (tmp_path / "cut.mp4").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ItemError, match=r"truncated|open_failed|decode_errors"):
        check_output(tmp_path / "cut.mp4", spec(), 12, needs_face=False)


def test_one_file_must_match_and_excluded_names_do_not_count(tmp_path):
    for name in ("a.mp4", "a_concat.mp4"):
        (tmp_path / name).touch()
    assert find_output([tmp_path / "a*.mp4"], ("*_concat.mp4",)) == tmp_path / "a.mp4"
    with pytest.raises(ItemError, match=r"ambiguous_output: 2 files match: a.mp4, a_concat.mp4"):
        find_output([tmp_path / "a*.mp4"], ())
    with pytest.raises(ItemError, match="no_output"):
        find_output([tmp_path / "b.mp4"], ())
