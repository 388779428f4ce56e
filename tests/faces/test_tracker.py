"""The tracker on real faces: found, followed, kept apart, and never invented."""

import cv2
import numpy as np
import pytest

from exprbench.faces.landmarker import square
from exprbench.faces.tracker import FaceTracker
from exprbench.faces.video_tracks import landmarker, track_faces
from exprbench.media import open_clip, read_clip, read_image, write_video

pytestmark = pytest.mark.shared


@pytest.fixture
def model(needs_weights):
    needs_weights("face_landmarker")
    return landmarker()


@pytest.fixture
def follow(model):
    def run(frames, fps=25):
        tracker = FaceTracker(model, fps=fps)
        for frame in frames:
            tracker.update(frame)
        return tracker.compute()

    return run


@pytest.fixture
def head(shared):
    """`head("d20", 240, 60)`: the first 60 frames of a driving clip, its square scaled to 240 pixels."""

    def clip(name, side, count):
        frames, _ = read_clip(shared(f"driving/{name}.mp4"), fps=25, max_frames=count)
        short = min(frames.shape[1:3])
        return [cv2.resize(f[:short, :short], (side, side), interpolation=cv2.INTER_AREA) for f in frames]

    return clip


def stage(width, height):
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 140, (height // 40, width // 40, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def paste(frame, picture, x, y):
    """An oval of `picture` at (x, y), cut by the frame's border; later ones hide earlier ones."""
    side = len(picture)
    oval = cv2.ellipse(
        np.zeros((side, side), np.uint8), (side // 2, side // 2), (int(side * 0.42), side // 2), 0, 0, 360, 1, -1
    )
    x, y = round(x), round(y)
    x0, x1 = max(0, x), min(frame.shape[1], x + side)
    if x1 > x0:
        mask = oval[:, x0 - x : x1 - x].astype(bool)
        frame[y : y + side, x0:x1][mask] = picture[:, x0 - x : x1 - x][mask]


def whose(track, paths, width):
    """For every frame in which a face is seen, the index of the person it is nearest to."""
    centres = (track.box[:, 0] + track.box[:, 2]) / 2 * width
    return {min(range(len(paths)), key=lambda i: abs(paths[i][t] - c)) for t, c in enumerate(centres) if track.seen[t]}


def test_both_people_of_a_wide_clip_in_99_percent_of_the_frames(shared, model):
    for fps in (23, 25):
        tracks = track_faces(shared("multi/two_person.mp4"), fps=fps)
        assert len(tracks.tracks) == 2
        assert min(t.seen_rate for t in tracks.tracks) >= 0.99
        assert np.nanmedian(tracks.tracks[0].box[:, 0]) < np.nanmedian(tracks.tracks[1].box[:, 0])


def test_people_who_turn_to_the_side_stay_seen(shared, model):
    """The two of the clip turn to each other, up to profile."""
    tracks = track_faces(shared("multi/two_person.mp4"), fps=25).tracks
    ahead = [t.pose[t.seen][:, :3, 2].astype(np.float64) for t in tracks]
    yaw_deg = [np.degrees(np.arctan2(a[:, 0], a[:, 2])) for a in ahead]
    assert yaw_deg[0].max() > 65
    assert yaw_deg[1].min() < -45
    assert sum(int((np.abs(yaw) > 45).sum()) for yaw in yaw_deg) >= 25


@pytest.mark.parametrize("name", ["d0", "d10", "d11", "d12", "d13", "d20", "d3", "jgz", "s29", "trump", "biden"])
def test_one_person_is_one_track_in_every_frame(shared, model, name):
    tracks = track_faces(shared(f"driving/{name}.mp4"), max_frames=50)
    assert [t.seen_rate for t in tracks.tracks] == [1.0]


def test_a_face_of_80_pixels_in_a_full_length_picture(shared, model):
    """The plain landmarker sees nobody here; there is one woman, head to toe."""
    tracks = track_faces(shared("driving/noface_s13.mp4"))
    assert [t.seen_rate for t in tracks.tracks] == [1.0]
    assert 60 < np.nanmedian(tracks.tracks[0].box[:, 3] - tracks.tracks[0].box[:, 1]) * tracks.height < 110


@pytest.mark.parametrize("name", ["tree", "vtest"])
def test_no_face_is_invented(shared, model, name):
    assert track_faces(shared(f"raw/{name}.avi"), max_frames=300).tracks == ()


def test_noise_and_plain_colour_have_no_face(follow):
    rng = np.random.default_rng(0)
    assert follow(rng.integers(0, 255, (360, 640, 3), np.uint8) for _ in range(15)) == ()
    assert follow(np.full((360, 640, 3), 200, np.uint8) for _ in range(15)) == ()


def test_five_small_heads_in_a_row(follow, head):
    heads = [head(name, 120, 20) for name in ("d20", "d11", "d3", "d10", "biden")]
    frames = []
    for t in range(20):
        frames.append(stage(1280, 480))
        for i, pictures in enumerate(heads):
            paste(frames[-1], pictures[t], 60 + 250 * i, 100)
    tracks = follow(frames)
    assert [t.seen_rate for t in tracks] == [1.0] * 5
    assert [round(float(np.nanmedian(t.box[:, 0])) // 0.195) for t in tracks] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("share", [0.2, 0.3])
def test_a_face_cut_by_the_border(follow, head, share):
    frames = []
    for picture in head("d20", 320, 20):
        frames.append(stage(640, 360))
        paste(frames[-1], picture, -320 * (0.33 + 0.39 * share), 20)  # the face spans 33 % to 72 % of the picture
    (track,) = follow(frames)
    assert track.seen_rate == 1
    assert np.nanmin(track.box[:, 0]) < 0


@pytest.mark.parametrize("pair", [("d20", "d11"), ("biden", "trump")])
def test_people_who_cross_keep_their_tracks(follow, head, pair):
    front, behind = head(pair[0], 240, 100), head(pair[1], 240, 100)
    frames, paths = [], ([], [])
    for t in range(100):
        xs = 20 + 5.2 * t, 540 - 5.2 * t
        frames.append(stage(800, 360))
        paste(frames[-1], behind[t], xs[1], 60)
        paste(frames[-1], front[t], xs[0], 50)
        for path, x in zip(paths, xs, strict=True):
            path.append(x + 120)
    tracks = follow(frames)
    apart = [t for t in range(100) if abs(paths[0][t] - paths[1][t]) > 60]
    assert len(tracks) == 2
    for i, track in enumerate(tracks):
        seen = np.zeros(100, bool)
        seen[apart] = track.seen[apart]
        assert whose(track.__class__(**{**vars(track), "seen": seen}), paths, 800) == {i}
    assert tracks[0].seen_rate == 1
    assert tracks[1].seen_rate > 0.75  # hidden while they pass


def test_who_leaves_and_comes_back_is_the_same_person(follow, head):
    leaver, stayer = head("d20", 240, 150), head("d11", 240, 150)
    frames = []
    for t in range(150):
        x = 300 - 10 * max(0, t - 20) if t < 80 else -280 + 10 * (t - 80)
        frames.append(stage(800, 360))
        paste(frames[-1], stayer[t], 500, 60)
        paste(frames[-1], leaver[t], x, 60)
    tracks = follow(frames)
    assert len(tracks) == 2
    assert tracks[0].seen[:20].all()
    assert not tracks[0].seen[75:85].any()
    assert tracks[0].seen[-20:].all()
    assert tracks[1].seen_rate > 0.99


def test_another_person_in_the_same_place_is_another_track(follow, head):
    first, second = head("d20", 320, 40), head("d11", 320, 40)
    frames = []
    for t in range(80):
        frames.append(stage(640, 360))
        paste(frames[-1], first[t] if t < 40 else second[t - 40], 160, 20)
    tracks = follow(frames)
    assert sorted(t.seen.nonzero()[0].tolist() for t in tracks) == [list(range(40)), list(range(40, 80))]


def test_a_face_that_comes_between_two_searches_is_followed_back(follow, head):
    frames = []
    for t, picture in enumerate(head("d20", 320, 60)):
        frames.append(stage(640, 360))
        if t >= 12:
            paste(frames[-1], picture, 160, 20)
    (track,) = follow(frames)
    assert track.seen.nonzero()[0].tolist() == list(range(12, 60))


@pytest.mark.parametrize("name", ["s0", "s1", "s10", "s12", "s3", "s4", "s5", "s6", "s9", "man"])
def test_still_portraits_have_one_face(shared, follow, name):
    path = next(p for p in (shared("portraits")).iterdir() if p.stem == name)
    assert len(follow([read_image(path)])) == 1


@pytest.mark.parametrize("name", ["stylised_s23", "stylised_s36", "stylised_s39", "stylised_s41"])
def test_animals_have_none(shared, follow, name):
    assert follow([read_image(shared(f"portraits/{name}.jpg"))]) == ()


def test_a_shift_moves_the_landmarks_and_turns_nothing(shared, model, tmp_path):
    with open_clip(shared("driving/d20.mp4"), max_frames=20) as clip:
        frames = [stage(640, 480)[:, :, :] for _ in range(20)]
        moved = [f.copy() for f in frames]
        for frame, other, picture in zip(frames, moved, clip, strict=True):
            frame[:, 80:560] = picture
            other[:, 96:576] = picture
    tracks = []
    for name, content in (("a", frames), ("b", moved)):
        write_video(tmp_path / f"{name}.mp4", content, crf=5)
        tracks.append(track_faces(tmp_path / f"{name}.mp4").tracks[0])
    shift = (tracks[1].landmarks - tracks[0].landmarks)[..., :2].mean((0, 1))
    assert shift == pytest.approx([16 / 640, 0], abs=1e-3)
    assert np.abs(tracks[1].pose - tracks[0].pose)[:, :3, :3].max() < 0.05


def test_the_same_video_gives_the_same_tracks_without_the_cache(shared, follow):
    frames, _ = read_clip(shared("driving/d20.mp4"), max_frames=15)
    a, b = follow(frames), follow(frames)
    assert np.array_equal(a[0].landmarks, b[0].landmarks)
    assert np.array_equal(a[0].pose, b[0].pose)


def test_squares_beyond_the_frame_repeat_its_border():
    frame = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    crop, origin = square(np.kron(frame, np.ones((16, 16, 1), np.uint8)), np.array([0, 0]), 64)
    assert origin == (-32, -32)
    assert (crop[:33, :33] == frame[0, 0]).all()
    assert square(frame, np.array([5000, 0]), 64)[0] is None
