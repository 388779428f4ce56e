from dataclasses import replace

import numpy as np
import pytest

from exprbench.faces import axis_angle, eye_closed, gaze, load_tracks, save_tracks
from exprbench.media import read_image
from exprbench.toy_benchmark.animation import EXPRESSIONS, perform, still
from exprbench.toy_benchmark.cast import CAST, random_character
from exprbench.toy_benchmark.damage import gaze_turned
from exprbench.toy_benchmark.scene import portrait, render
from exprbench.toy_benchmark.strip import save_strip

SQUARE = (128, 128)
GAZE_TOLERANCE_DEG = 2e-4  # what float32 landmarks leave of a gaze


def angle_deg(a, b):
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


@pytest.mark.parametrize("size", [SQUARE, (512, 512), (300, 128), (97, 201)])
def test_tracks_are_exactly_what_was_put_in(size):
    for i, person in enumerate([*CAST, random_character(3)]):
        m = perform(i, 50)
        _, tracks = render([person], [m], size)
        track = tracks.tracks[0]
        assert angle_deg(gaze(track.landmarks, track.pose, size), m.gaze[:, None]).max() < GAZE_TOLERANCE_DEG
        np.testing.assert_allclose(axis_angle(track.pose), m.rotvec, atol=1e-6)
        np.testing.assert_array_equal(track.blendshapes, m.blendshapes.astype(np.float32))
        np.testing.assert_array_equal(eye_closed(track.blendshapes), m.blendshapes[:, [10, 9]] > 0.5)
        assert track.seen.all()


def test_a_gaze_turned_by_five_degrees_is_five_degrees_off():
    m = perform(2, 125)
    _, true = render([CAST[0]], [m], SQUARE)
    _, turned = render([CAST[0]], [gaze_turned(m, 5)], SQUARE)
    a, b = (gaze(t.tracks[0].landmarks, t.tracks[0].pose, SQUARE) for t in (true, turned))
    np.testing.assert_allclose(angle_deg(a, b), 5, atol=2 * GAZE_TOLERANCE_DEG)
    np.testing.assert_array_equal(true.tracks[0].landmarks[:, :468], turned.tracks[0].landmarks[:, :468])


@pytest.mark.parametrize(("num_people", "size"), [(1, (256, 256)), (2, (448, 256)), (3, (640, 256)), (1, (144, 256))])
def test_points_lie_in_the_frame_and_people_from_left_to_right(num_people, size):
    for seed in range(6):
        people = [CAST[(seed + i) % len(CAST)] for i in range(num_people)]
        _, tracks = render(people, [perform(10 * seed + i, 50) for i in range(num_people)], size)
        assert (tracks.num_frames, tracks.size, tracks.fps) == (50, size, 25)
        for track in tracks.tracks:
            assert track.landmarks[..., :2].min() > 0
            assert track.landmarks[..., :2].max() < 1
            np.testing.assert_array_equal(track.box[:, :2], track.landmarks[..., :2].min(1))
            np.testing.assert_array_equal(track.box[:, 2:], track.landmarks[..., :2].max(1))
            np.testing.assert_array_equal(track.landmarks[..., 2].argmin(1) < 468, True)
        middles = np.array([t.box[:, [0, 2]].mean(1) for t in tracks.tracks])
        assert (np.diff(middles, axis=0) > 0.5 / num_people).all()


def test_frames_are_the_same_bytes_every_time():
    def draw():
        return [f.tobytes() for f in render(CAST[:2], [perform(0, 6), perform(1, 6)], (256, 128))[0]]

    first = draw()
    assert first == draw()
    assert len(set(first)) == 6


@pytest.mark.parametrize("size", [SQUARE, (101, 77), (64, 200), (640, 360)])
def test_frames_are_rgb_pictures_of_the_size_asked_for(size):
    frames = list(render([CAST[1]], [perform(0, 2)], size)[0])
    assert [f.shape for f in frames] == [(size[1], size[0], 3)] * 2
    assert frames[0].dtype == np.uint8


def test_skin_eyes_and_lips_are_drawn_where_the_landmarks_say():
    size = (512, 512)
    for person in CAST:
        picture, tracks = portrait(person, size, expression={"jawOpen": 0.5})
        points = np.rint(tracks.tracks[0].landmarks[0, :, :2] * size - 0.5).astype(int)

        def colour(*indices, picture=picture, points=points):
            x, y = points[list(indices)].mean(0).astype(int)
            return picture[y, x].astype(int)

        assert np.abs(colour(50, 205) - person.skin).max() < 70
        assert colour(13, 14)[0] > colour(13, 14)[1]  # a mouth is red
        ring = picture[points[470, 1] : points[472, 1], points[471, 0] : points[469, 0]]
        assert ring.min() < 60  # the pupil


def test_an_iris_moves_with_the_gaze_and_lids_close():
    def eye(motion):
        frames, tracks = render([CAST[5]], [motion], (512, 512))
        return next(frames), tracks.tracks[0].landmarks[0]

    left, right = (eye(still(gaze_deg=(angle, 0)))[1] for angle in (-20, 20))
    assert (right[[468, 473], 0] - left[[468, 473], 0]).min() > 0.01
    closed, points = eye(still({"eyeBlink": 1}))
    x, y = (points[[159, 145, 386, 374], :2].mean(0) * 512).astype(int)
    opened, _ = eye(still())
    whites = [(frame[y - 20 : y + 20, x - 80 : x + 80].min(-1) > 220).sum() for frame in (opened, closed)]
    assert whites[0] > 200
    assert whites[1] < 5


def test_a_face_behind_a_book_is_not_seen():
    m = perform(0, 12)
    hidden = replace(m, seen=np.arange(12) < 8)
    frames, tracks = render([CAST[0]], [hidden], SQUARE)
    plain = list(render([CAST[0]], [m], SQUARE)[0])
    same = [np.array_equal(a, b) for a, b in zip(frames, plain, strict=True)]
    assert same == [True] * 8 + [False] * 4
    track = tracks.tracks[0]
    np.testing.assert_array_equal(track.seen, hidden.seen)
    assert np.isnan(track.landmarks[8:]).all()
    assert np.isfinite(track.landmarks[:8]).all()


def test_tracks_save_and_load(tmp_path):
    _, tracks = render(CAST[:2], [replace(perform(0, 9), seen=np.arange(9) != 4), perform(1, 9)], (256, 128))
    save_tracks(tmp_path / "a.npz", tracks)
    loaded = load_tracks(tmp_path / "a.npz")
    assert (loaded.num_frames, loaded.size, loaded.fps, loaded.made_by) == (9, (256, 128), 25, tracks.made_by)
    for a, b in zip(loaded.tracks, tracks.tracks, strict=True):
        for name in ("seen", "box", "landmarks", "blendshapes", "pose"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
            assert getattr(a, name).dtype == getattr(b, name).dtype


def test_motions_and_people_must_go_together():
    with pytest.raises(ValueError, match="expected one each"):
        render(CAST[:2], [perform(0, 3)], SQUARE)
    with pytest.raises(ValueError, match=r"\[3, 4\] frames"):
        render(CAST[:2], [perform(0, 3), perform(0, 4)], SQUARE)
    with pytest.raises(ValueError, match="0 people"):
        render([], [], SQUARE)


def test_a_portrait_is_the_frame_of_a_still():
    picture, tracks = portrait(CAST[3], SQUARE, expression=EXPRESSIONS["laugh"])
    frames, _ = render([CAST[3]], [still(EXPRESSIONS["laugh"])], SQUARE)
    np.testing.assert_array_equal(picture, next(frames))
    assert tracks.num_frames == 1
    assert not np.array_equal(picture, portrait(CAST[3], SQUARE)[0])


def test_the_strip_is_a_small_png(tmp_path):
    save_strip(tmp_path / "strip.png")
    assert (tmp_path / "strip.png").stat().st_size < 300_000
    assert read_image(tmp_path / "strip.png").shape == (448, 1344, 3)


@pytest.mark.weights
def test_mediapipe_finds_the_faces_where_they_were_drawn(needs_weights):
    from exprbench.faces.landmarker import Landmarker

    landmarker, size = Landmarker(needs_weights("face_landmarker")), (256, 256)
    for i, person in enumerate(CAST):
        frames, tracks = render([person], [perform(i, 40)], size)
        for t, frame in enumerate(frames):
            if t % 20 == 0:
                points = tracks.tracks[0].landmarks[t, :, :2] * size
                faces = landmarker.detect(frame, points.mean(0), 2 * np.ptp(points, axis=0).max())
                assert len(faces) == 1
                off = np.linalg.norm(faces[0].points[:, :2] - points, axis=1).mean()
                assert off < 0.1 * np.linalg.norm(points[33] - points[263])
