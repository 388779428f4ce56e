from dataclasses import replace

import numpy as np
import pytest

from exprbench import weights
from exprbench.core.errors import ItemError
from exprbench.core.files import sha256_path
from exprbench.faces import TracksError, load_tracks, save_tracks
from exprbench.faces import video_tracks as tracking_module
from exprbench.faces.tracks import pack_tracks
from exprbench.faces.video_tracks import given_path, given_tracks, main_faces, track_faces, track_image
from exprbench.media import write_image
from tests.faces.test_tracks import same, track, tracks
from tests.toys import OneFace
from tests.videos import numbered, write


@pytest.fixture
def video(tmp_path):
    return write(tmp_path / "clip.mp4", [numbered(i) for i in range(6)])


def test_tracks_given_beside_a_video_are_used(video):
    given = tracks(track())
    save_tracks(
        video.with_name("clip.tracks.npz"), given.__class__(**{**vars(given), "video_sha256": sha256_path(video)})
    )
    assert same(track_faces(video), given)


def test_tracks_of_another_version_of_the_video_are_refused(video):
    save_tracks(video.with_name("clip.tracks.npz"), tracks(track()))
    with pytest.raises(TracksError) as error:
        given_tracks(video)
    assert error.value.code == "tracks_mismatch"


def test_without_the_model_the_error_says_what_to_put_where(video, monkeypatch, own_cache):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", "")
    tracking_module._load.cache_clear()
    with pytest.raises(ItemError, match=r"put face_landmarker\.task from https") as error:
        track_faces(video)
    assert error.value.code == "weights_missing"
    tracking_module._load.cache_clear()


@pytest.mark.shared
def test_tracks_are_kept_by_content_and_made_again_when_damaged(shared, needs_weights, own_cache, tmp_path):
    needs_weights("face_landmarker")
    path = tmp_path / "clip.mp4"
    path.write_bytes(shared("driving/d20.mp4").read_bytes())
    first = track_faces(path, max_frames=5)
    (entry,) = [p for p in own_cache.rglob("*") if p.is_file()]
    written = entry.read_bytes()
    path.rename(tmp_path / "other_name.mp4")
    assert same(track_faces(tmp_path / "other_name.mp4", max_frames=5), first)
    assert [p for p in own_cache.rglob("*") if p.is_file()] == [entry]
    entry.write_bytes(written[:5000] + b"x" + written[5001:])
    assert same(track_faces(tmp_path / "other_name.mp4", max_frames=5), first)
    assert entry.read_bytes() == written
    track_faces(tmp_path / "other_name.mp4", max_frames=6)
    assert len([p for p in own_cache.rglob("*") if p.is_file()]) == 2


def test_loaded_arrays_are_plain(tmp_path):
    save_tracks(tmp_path / "a.npz", tracks(track()))
    assert load_tracks(tmp_path / "a.npz").tracks[0].landmarks.dtype == np.float32


@pytest.mark.parametrize(
    ("seen", "main"), [([1, 1, 1, 0, 0, 0], 1), ([1, 0, 1, 0, 1, 0], 1), ([1, 1, 0, 0, 0, 0], 0), ([1] * 6, 1)]
)
def test_main_faces_are_seen_in_half_of_the_frames(seen, main):
    assert len(main_faces(tracks(track(seen=seen)))) == main


def test_main_faces_keep_their_order():
    often, rarely, always = track(seen=[1, 1, 1, 1, 0, 0]), track(seen=[1, 0, 0, 0, 0, 0]), track(seed=2)
    assert main_faces(tracks(often, rarely, always)) == [often, always]


@pytest.fixture
def drawn(tmp_path, monkeypatch, own_cache):
    """A clip with a face that the toy landmarker detects, and an empty cache."""
    monkeypatch.setattr(tracking_module, "landmarker", OneFace)
    return write(tmp_path / "drawn.mp4", [numbered(i) for i in range(20)])


CHANGES = {
    "rate": (lambda path, patch: None, {"fps": 12.5}),
    "number of frames": (lambda path, patch: None, {"max_frames": 7}),
    "video": (lambda path, patch: write(path, [numbered(5 * i) for i in range(20)]), {}),
    "version": (lambda path, patch: (patch.setattr(tracking_module, "TRACKER", "new"), see_more(patch)), {}),
    "mediapipe": (
        lambda path, patch: (patch.setattr(tracking_module, "engine_version", lambda _: "9"), see_more(patch)),
        {},
    ),
    "model": (lambda path, patch: (other_model(patch), see_more(patch)), {}),
}


def see_more(patch):
    patch.setattr(tracking_module, "landmarker", lambda: OneFace(gain=0.9))


def other_model(patch):
    patch.setitem(weights.ALL, "face_landmarker", replace(weights.get("face_landmarker"), sha256="cd" * 32))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_tracks_are_recalled_only_where_all_they_depend_on_is_the_same(drawn, monkeypatch, own_cache, change):
    before = track_faces(drawn)
    assert same(track_faces(drawn), before)
    act, options = change
    act(drawn, monkeypatch)
    warm = track_faces(drawn, **options)
    monkeypatch.setenv("EXPRBENCH_CACHE", str(own_cache / "empty"))
    cold = track_faces(drawn, **options)
    assert pack_tracks(warm) == pack_tracks(cold)
    assert pack_tracks(cold) != pack_tracks(before)


def test_tracks_record_their_video_and_rate(drawn):
    found = track_faces(drawn, fps=12.5, max_frames=7)
    assert (found.num_frames, found.size, found.fps) == (7, (160, 96), 12.5)
    assert (found.video_sha256, found.made_by) == (sha256_path(drawn), tracking_module.tracks_made_by())
    assert [t.seen.sum() for t in found.tracks] == [7]
    assert (track_faces(drawn).num_frames, track_faces(drawn, fps=12.5).num_frames) == (20, 10)


def test_a_still_image_has_tracks_of_one_frame(drawn, tmp_path):
    write_image(tmp_path / "still.png", numbered(3))
    found = track_image(tmp_path / "still.png")
    assert (found.num_frames, len(found.tracks), found.video_sha256) == (1, 1, sha256_path(tmp_path / "still.png"))
    save_tracks(tmp_path / "still.tracks.npz", tracks(track(t=1), t=1, video_sha256=""))
    assert track_image(tmp_path / "still.png").made_by == "test"


def test_track_files_of_frame_folders_have_the_whole_name(tmp_path):
    (tmp_path / "case.v1").mkdir()
    assert given_path(tmp_path / "case.v1") == tmp_path / "case.v1.tracks.npz"
    assert given_path(tmp_path / "case.v1.mp4") == tmp_path / "case.v1.tracks.npz"
