import cv2
import numpy as np
import pytest

from exprbench.core.errors import UserError
from exprbench.media import write_image, write_video
from fantasyportrait.portrait import (
    assign_faces,
    choose_crop_resize,
    find_face_boxes,
    parse_assignment,
    parse_size,
    read_portrait,
    resize,
)
from tests.people import clip, give, people, person, still
from tests.videos import numbered


@pytest.mark.parametrize(
    ("size", "expected"), [((1024, 1024), (720, 720)), ((1084, 610), (720, 416)), ((100, 300), (240, 720))]
)
def test_default_sizes_are_the_released_ones(size, expected):
    transform = choose_crop_resize(size)
    assert transform.size == transform.output_size == expected


def test_a_given_size_is_a_centre_crop_of_its_aspect_ratio():
    transform = choose_crop_resize((1000, 500), size=(480, 480))
    assert transform.crop == (250, 0, 750, 500)
    assert (transform.size, transform.output_size) == ((480, 480), (480, 480))
    boxes = transform.transform_boxes(np.array([[0.5, 0.5, 0.75, 1.0]]), (1000, 500))
    np.testing.assert_allclose(boxes, [[240, 240, 480, 480]])


def test_a_size_that_is_not_a_multiple_of_16_is_the_output_size():
    transform = choose_crop_resize((640, 480), size=(100, 60))
    assert transform.size == (112, 64)
    assert transform.output_size == (100, 60)


def test_the_image_becomes_the_models_input():
    image = np.random.default_rng(0).integers(0, 255, (100, 200, 3), dtype=np.uint8)
    assert choose_crop_resize((200, 100), max_side=64).apply(image).shape == (32, 64, 3)


@pytest.mark.parametrize("text", ["480", "0x480", "480x", "axb", "99999x10", "480 832"])
def test_texts_that_are_not_sizes_are_refused(text):
    with pytest.raises(UserError, match="expected WIDTHxHEIGHT"):
        parse_size(text)


def test_sizes():
    assert parse_size("480X832") == (480, 832)


def test_assignments():
    assert parse_assignment("0.0,1.0;-") == ((0, 0), (1, 0), None)
    with pytest.raises(UserError, match="'0'"):
        parse_assignment("0")


@pytest.mark.parametrize(
    ("num_faces", "drivers", "expected"),
    [
        (1, [1], ((0, 0),)),
        (0, [1], ((0, 0),)),
        (2, [2], ((0, 0), (0, 1))),
        (2, [1, 1], ((0, 0), (1, 0))),
        (3, [1, 2], ((0, 0), (1, 0), (1, 1))),
        (5, [5], tuple((0, i) for i in range(5))),
    ],
)
def test_as_many_drivers_as_faces_go_left_to_right(num_faces, drivers, expected):
    assert assign_faces(num_faces, drivers) == expected


@pytest.mark.parametrize(
    ("num_faces", "drivers", "message"),
    [
        (3, [1], "the portrait has 3 faces, the drivers have 1 face .*--assign 0.0,-,-"),
        (1, [2], "the portrait has 1 face, the drivers have 2 faces .*--assign 0.0"),
        (2, [1, 2], r"3 faces \(1, 2\).*--assign 0.0,1.0"),
    ],
)
def test_other_numbers_are_an_error_that_suggests_an_assignment(num_faces, drivers, message):
    with pytest.raises(UserError, match=message) as raised:
        assign_faces(num_faces, drivers)
    suggestion = str(raised.value).rsplit(" ", 1)[1]
    assert assign_faces(num_faces, drivers, parse_assignment(suggestion))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.0", "1 entries for 2 faces"),
        ("-,-", "drives no face"),
        ("0.0,2.0", "names driver 2; there are 2"),
        ("0.0,1.1", "names face 1 of driver 1, which shows 1 face"),
    ],
)
def test_impossible_assignments_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        assign_faces(2, [1, 1], parse_assignment(text))


def test_one_face_can_drive_several():
    assert assign_faces(2, [1], parse_assignment("0.0,0.0")) == ((0, 0), (0, 0))


def test_faces_are_counted_from_the_left(tmp_path):
    path = still(tmp_path / "p.png", person(1, x=0.7), person(1, x=0.2, seed=1), person(1, x=0.45, seed=2))
    boxes = find_face_boxes(path)
    assert boxes.shape == (3, 4)
    assert (np.diff(boxes[:, 0]) > 0).all()


def test_an_image_without_faces_has_no_boxes(tmp_path):
    path = tmp_path / "p.png"
    write_image(path, numbered(0))
    give(path, people(1))
    assert find_face_boxes(path).shape == (0, 4)


def test_a_videos_first_frame_is_a_portrait(tmp_path):
    write_video(tmp_path / "v.mp4", (numbered(i) for i in range(3)))
    assert read_portrait(tmp_path / "v.mp4").shape == (96, 160, 3)


def test_unreadable_portraits_are_refused(tmp_path):
    (tmp_path / "p.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match="cannot be read: open_failed"):
        read_portrait(tmp_path / "p.png")


@pytest.mark.parametrize(("size", "max_side", "expected"), [
    ((1000, 999), 64, (64, 64)), ((1000, 10), 64, (64, 16)), ((1, 1), 17, (32, 32)), ((300, 301), 160, (160, 160)),
    ((1000, 451), 320, (320, 144)), ((100, 50), 33, (48, 16)),
])  # fmt: skip
def test_sides_are_cut_to_whole_pixels_and_rounded_up_to_multiples_of_16(size, max_side, expected):
    assert choose_crop_resize(size, max_side=max_side).size == expected


def test_a_tall_portrait_keeps_its_middle_in_a_wide_size():
    fitted = choose_crop_resize((300, 1000), size=(320, 160))
    assert fitted.crop == (0, 425, 300, 575)
    boxes = fitted.transform_boxes(np.array([[0.0, 0.425, 0.5, 0.5], [0.5, 0.5, 1.0, 0.575]]), (300, 1000))
    np.testing.assert_allclose(boxes, [[0, 0, 160, 80], [160, 80, 320, 160]], atol=1e-9)
    image = np.zeros((1000, 300, 3), np.uint8)
    image[425:575] = 200
    assert (fitted.apply(image) == 200).all()


@pytest.mark.parametrize("text", ["16x16", "8192x8192", "16x8192"])
def test_the_smallest_and_largest_sizes(text):
    assert parse_size(text) == tuple(map(int, text.split("x")))


@pytest.mark.parametrize("text", ["15x16", "16x8193"])
def test_sizes_beyond_them_are_refused(text):
    with pytest.raises(UserError, match="expected WIDTHxHEIGHT"):
        parse_size(text)


def test_pictures_shrink_by_area_and_grow_by_cubes():
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    for size, how in (((40, 30), cv2.INTER_AREA), ((160, 120), cv2.INTER_CUBIC)):
        np.testing.assert_array_equal(resize(image, size), cv2.resize(image, size, interpolation=how))
    assert resize(image, (80, 60)) is image


@pytest.mark.parametrize("given", [((2, 0),), ((0, 1),), ((0, 2),)])
def test_drivers_and_faces_are_counted_from_nought(given):
    with pytest.raises(UserError, match="counted from 0"):
        assign_faces(1, [1, 1], given)
    assert assign_faces(1, [1, 1], ((1, 0),)) == ((1, 0),)


def test_a_portrait_without_a_face_is_animated_as_a_whole_by_one_driver():
    assert assign_faces(0, [2], parse_assignment("0.1")) == ((0, 1),)
    with pytest.raises(UserError, match=r"0 faces, the drivers have 2 faces \(1, 1\); .* --assign 0\.0$"):
        assign_faces(0, [1, 1])


def test_faces_not_seen_in_the_picture_do_not_count(tmp_path):
    path = still(tmp_path / "p.png", person(1, x=0.3), person(1, x=0.7, seed=1, hidden=(0,)))
    assert find_face_boxes(path).shape == (1, 4)


def test_a_first_frame_next_to_its_video_has_the_videos_faces(tmp_path):
    """Both share the name under which tracks are given."""
    clip(tmp_path / "a.mp4", 5, person(5, x=0.3), person(5, x=0.7, seed=1))
    write_image(tmp_path / "a.png", numbered(0))
    np.testing.assert_array_equal(find_face_boxes(tmp_path / "a.png"), find_face_boxes(tmp_path / "a.mp4"))
    assert len(find_face_boxes(tmp_path / "a.png")) == 2
