import numpy as np
import pytest

from exprbench.faces import FaceTrack, FaceTracks, TracksError, load_tracks, save_tracks


def track(t=6, seen=None, seed=0):
    rng = np.random.default_rng(seed)
    seen = np.ones(t, bool) if seen is None else np.array(seen, bool)

    def fill(*shape):
        array = rng.random((t, *shape), np.float32)
        array[~seen] = np.nan
        return array

    return FaceTrack(seen=seen, box=fill(4), landmarks=fill(478, 3), blendshapes=fill(52), pose=fill(4, 4))


def tracks(*people, t=6):
    return FaceTracks(num_frames=t, width=64, height=48, fps=25.0, tracks=people, made_by="test", video_sha256="ab")


def same(a, b):
    return all(
        np.array_equal(getattr(x, n), getattr(y, n), equal_nan=n != "seen")
        for x, y in zip(a.tracks, b.tracks, strict=True)
        for n in ("seen", "box", "landmarks", "blendshapes", "pose")
    )


@pytest.mark.parametrize("people", [(), (track(),), (track(), track(seen=[1, 1, 0, 0, 1, 1], seed=1))])
def test_tracks_come_back_as_they_were_and_give_the_same_bytes(tmp_path, people):
    before = tracks(*people)
    save_tracks(tmp_path / "a.npz", before)
    after = load_tracks(tmp_path / "a.npz")
    assert same(before, after)
    assert (after.num_frames, after.size, after.fps, after.made_by) == (6, (64, 48), 25.0, "test")
    save_tracks(tmp_path / "b.npz", after)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_seen_rate():
    assert track(seen=[1, 0, 0, 1, 0, 0]).seen_rate == pytest.approx(1 / 3)


def test_shapes_and_gaps_are_checked():
    good = track()
    with pytest.raises(ValueError, match="box is of shape"):
        FaceTrack(
            seen=good.seen, box=good.box[:3], landmarks=good.landmarks, blendshapes=good.blendshapes, pose=good.pose
        )
    broken = good.pose.copy()
    broken[2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        FaceTrack(seen=good.seen, box=good.box, landmarks=good.landmarks, blendshapes=good.blendshapes, pose=broken)
    with pytest.raises(ValueError, match="video of 7"):
        tracks(good, t=7)


@pytest.mark.parametrize("damage", ["empty", "text", "half", "pickle", "schema", "missing"])
def test_files_that_are_not_tracks_are_refused_in_one_line(tmp_path, damage):
    path = tmp_path / "a.npz"
    save_tracks(path, tracks(track()))
    data = path.read_bytes()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_bytes(b"hello")
    elif damage == "half":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "pickle":
        np.savez(path, meta=np.array([{"a": object()}], dtype=object))
    elif damage == "schema":
        path.write_bytes(data.replace(b'"schema": 1', b'"schema": 9'))
    else:
        np.savez(path, seen=np.ones((1, 6), bool))
    with pytest.raises(TracksError) as error:
        load_tracks(path)
    assert error.value.code == "tracks_invalid"
    assert "\n" not in str(error.value)
