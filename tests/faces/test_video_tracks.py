import numpy as np
import pytest

from exprbench.core.errors import ItemError
from exprbench.core.files import sha256_path
from exprbench.faces import TracksError, load_tracks, save_tracks
from exprbench.faces import video_tracks as tracking_module
from exprbench.faces.video_tracks import given_tracks, track_faces
from tests.faces.test_tracks import same, track, tracks
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
    tracking_module.landmarker.cache_clear()
    with pytest.raises(ItemError, match=r"put face_landmarker\.task from https") as error:
        track_faces(video)
    assert error.value.code == "weights_missing"
    tracking_module.landmarker.cache_clear()


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
