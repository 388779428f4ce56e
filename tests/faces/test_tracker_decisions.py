"""Decisions of the tracker, on patches of colour: when to search, which faces to follow, and who counts."""

from itertools import pairwise

import numpy as np
import pytest

from exprbench.faces import tracker as tracker_module
from exprbench.faces.tracker import FaceTracker
from tests.faces.patches import SIZE, PatchLandmarker, cloud, patches, scene


def follow(frames, fps=25):
    tracker = FaceTracker(PatchLandmarker(), fps=fps)
    for frame in frames:
        tracker.update(frame)
    return tracker.compute()


def counts(frames, what, fps=25):
    """How often the landmarker was asked for `what` (searches, detections) in every frame."""
    landmarker = PatchLandmarker()
    tracker = FaceTracker(landmarker, fps=fps)
    totals = [0]
    for frame in frames:
        tracker.update(frame)
        totals.append(getattr(landmarker, what))
    return [b - a for a, b in pairwise(totals)]


def times(frames, fps=25):
    """The frames that were searched."""
    return [t for t, count in enumerate(counts(frames, "searches", fps)) if count]


def seen(track):
    return track.seen.nonzero()[0].tolist()


def test_coordinates_are_relative_to_the_frame():
    width, height = SIZE
    (track,) = follow([scene(red=(80, 90))] * 3)
    assert track.box == pytest.approx(np.tile([60 / width, 70 / height, 100 / width, 110 / height], (3, 1)), abs=1e-6)
    points = PatchLandmarker().detect(scene(red=(80, 90)), np.array([80, 90]), 100)[0].points
    assert track.landmarks[1] == pytest.approx(points / (width, height, width), abs=1e-6)
    assert track.blendshapes[1] == pytest.approx(np.linspace(0, 1, 52))
    assert np.array_equal(track.pose[1], np.eye(4))


@pytest.mark.parametrize(
    ("num_frames", "num_seen", "people"), [(40, 4, 0), (40, 5, 1), (8, 1, 0), (8, 2, 1), (3, 1, 1), (1, 1, 1)]
)
def test_people_seen_too_briefly_have_no_track(num_frames, num_seen, people):
    tracks = follow([scene(red=(80, 90) if t < num_seen else None) for t in range(num_frames)])
    assert [seen(track) for track in tracks] == [list(range(num_seen))] * people


def test_people_are_in_the_order_of_where_they_were_first_seen():
    tracks = follow([scene(red=(280 - 7 * t, 50), blue=(160, 130), green=(40 + 3 * t, 130)) for t in range(30)])
    assert [round(float(track.box[0, 0] * SIZE[0])) + 20 for track in tracks] == [40, 160, 280]
    assert tracks[2].box[-1, 0] < tracks[1].box[-1, 0]


@pytest.mark.parametrize(("fps", "every"), [(25, 10), (10, 4)])
def test_frames_without_people_are_searched_often(fps, every):
    assert times([scene()] * 60, fps) == list(range(0, 60, every))


@pytest.mark.parametrize(("fps", "every"), [(25, 25), (10, 10)])
def test_frames_are_searched_once_a_second_while_all_people_are_followed(fps, every):
    assert times([scene(red=(80, 90))] * 60, fps) == list(range(0, 60, every))


def test_frames_are_searched_often_for_two_seconds_after_a_person_left():
    frames = [scene(red=(80, 90), blue=(220, 90) if t < 30 else None) for t in range(130)]
    assert times(frames) == [0, 25, 35, 45, 55, 65, 75, 100, 125]


def test_a_lost_face_is_expected_at_its_last_place_for_a_second():
    frames = [scene(red=(80, 90), blue=(220, 90) if t < 30 else None) for t in range(80)]
    detections = counts(frames, "detections")
    assert detections[26:30] == [2] * 4  # a square for each
    assert detections[30:35] == [5] * 5  # the lost one in four sizes of square
    assert [detections[t] > 1 for t in (53, 54, 56, 57)] == [True, True, False, False]
    slower = counts(frames, "detections", fps=10)
    assert [slower[t] > 1 for t in (38, 39, 41, 42)] == [True, True, False, False]


def test_people_close_together_share_a_crop():
    apart = counts([scene(red=(80, 90), blue=(220, 90))] * 5, "detections")
    close = counts([scene(red=(80, 90), blue=(115, 90, 24))] * 5, "detections")
    near = counts([scene(red=(80, 90), blue=(140, 90))] * 5, "detections")
    assert (apart[1:], near[1:], close[1:]) == ([2] * 4, [2] * 4, [1] * 4)
    assert len(follow([scene(red=(80, 90), blue=(115, 90, 24))] * 10)) == 2


@pytest.mark.parametrize("others", [{}, {"red": (80, 40)}])
def test_people_who_appear_between_two_searches_are_tracked_backwards(others):
    """However far they have moved since."""
    tracks = follow([scene(**others, blue=(290 - 5 * t, 140) if t >= 13 else None) for t in range(45)])
    assert seen(tracks[-1]) == list(range(13, 45))
    assert len(tracks) == 1 + len(others)


def test_backward_tracking_continues_past_a_brief_gap():
    hidden = {16, 17, 18}
    tracks = follow([scene(blue=(220, 90) if t >= 11 and t not in hidden else None) for t in range(30)])
    assert seen(tracks[0]) == [t for t in range(11, 30) if t not in hidden]


def test_backward_tracking_stops_at_a_longer_gap():
    hidden = range(13, 18)
    tracks = follow([scene(blue=(220, 90) if t >= 11 and t not in hidden else None) for t in range(30)])
    assert seen(tracks[0]) == list(range(18, 30))


def test_motion_is_extrapolated_over_a_brief_gap_only():
    """The clip ends before the frame is searched again."""
    fast = [scene((640, 180), red=None if t in (10, 11) else (30 + 26 * t, 90)) for t in range(19)]
    assert seen(follow(fast)[0]) == [t for t in range(19) if t not in (10, 11)]
    stopped = [(40 + 10 * min(t, 21), 90) for t in range(34)]
    frames = [scene((640, 180), red=None if 22 <= t < 30 else place) for t, place in enumerate(stopped)]
    assert seen(follow(frames)[0]) == [*range(22), *range(30, 34)]


@pytest.mark.parametrize("gap", [2, 4, 7, 40])
def test_a_person_hidden_for_a_while_keeps_the_track(gap):
    tracks = follow([scene(red=(40 + 2 * t, 90) if not 20 <= t < 20 + gap else None) for t in range(110)])
    assert [seen(track) for track in tracks] == [[t for t in range(110) if not 20 <= t < 20 + gap]]


def test_a_person_who_reappears_elsewhere_keeps_the_track():
    frames = [scene(green=(160, 90), red=(60, 90) if t < 20 else (260, 90) if t >= 70 else None) for t in range(110)]
    red, green = follow(frames)
    assert seen(red) == [*range(20), *range(70, 110)]
    assert green.seen.all()


def test_another_person_in_the_same_place_has_another_track():
    tracks = follow([scene(red=(160, 90)) if t < 20 else scene(blue=(160, 90)) for t in range(40)])
    assert sorted(map(seen, tracks)) == [list(range(20)), list(range(20, 40))]


class OnePlace(PatchLandmarker):
    """Landmarker that finds a face in the middle of every frame."""

    def search(self, frame):
        return patches(scene(red=(160, 90)))

    def detect(self, frame, centre, side):
        return super().detect(scene(red=(160, 90)), centre, side)


@pytest.mark.parametrize(
    "exposure",
    [
        lambda t: (1.7 if t >= 20 else 1, 0),
        lambda t: (1 - 0.5 * np.clip((t - 20) / 8, 0, 1), 0),
        lambda t: (1, 70 * (t >= 20)),
        lambda t: (1 + 0.3 * np.sin(t), 0),
    ],
)
def test_a_change_of_exposure_keeps_the_track(exposure):
    tracker = FaceTracker(OnePlace(), fps=25)
    for t in range(60):
        gain, offset = exposure(t)
        tracker.update((cloud(0) * gain + offset).clip(0, 255).astype(np.uint8))
    assert [track.seen.all() for track in tracker.compute()] == [True]


@pytest.mark.parametrize("gain", [1.0, 1.7])
def test_another_person_under_another_exposure_has_another_track(gain):
    tracker = FaceTracker(OnePlace(), fps=25)
    for t in range(40):
        tracker.update(cloud(0) if t < 20 else (cloud(1) * gain).astype(np.uint8))
    assert sorted(map(seen, tracker.compute())) == [list(range(20)), list(range(20, 40))]


def test_people_who_pass_each_other_keep_their_tracks():
    tracks = follow([scene(red=(40 + 6 * t, 60), blue=(280 - 6 * t, 120)) for t in range(40)])
    red, blue = ((track.box[:, 0] + track.box[:, 2]) / 2 * SIZE[0] for track in tracks)
    assert red == pytest.approx(40 + 6 * np.arange(40), abs=1)
    assert blue == pytest.approx(280 - 6 * np.arange(40), abs=1)


def test_the_frames_kept_for_backward_tracking_are_bounded(monkeypatch):
    monkeypatch.setattr(tracker_module, "RECENT_BYTES", 5 * scene().nbytes)
    assert times([scene(red=(80, 90))] * 30) == [0, 6, 12, 18, 24]
