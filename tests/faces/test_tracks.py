import io
import json
from dataclasses import replace

import numpy as np
import pytest

from exprbench.faces import FaceTrack, FaceTracks, TracksError, load_tracks, save_tracks
from exprbench.faces.tracks import pack_tracks, unseen


def track(t=6, seen=None, seed=0):
    rng = np.random.default_rng(seed)
    seen = np.ones(t, bool) if seen is None else np.array(seen, bool)

    def fill(*shape):
        array = rng.random((t, *shape), np.float32)
        array[~seen] = np.nan
        return array

    return FaceTrack(seen=seen, box=fill(4), landmarks=fill(478, 3), blendshapes=fill(52), pose=fill(4, 4))


def tracks(*people, t=6, video_sha256="ab"):
    size = {"width": 64, "height": 48}
    return FaceTracks(num_frames=t, **size, fps=25.0, tracks=people, made_by="test", video_sha256=video_sha256)


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


def test_the_first_frames_of_tracks():
    whole = tracks(track(seed=1), track(seen=[0, 1, 1, 0, 1, 1], seed=2))
    cut = whole.first(2)
    assert (cut.num_frames, [t.seen.tolist() for t in cut.tracks]) == (2, [[True, True], [False, True]])
    assert np.array_equal(cut.tracks[0].landmarks, whole.tracks[0].landmarks[:2])
    assert np.array_equal(cut.tracks[0].pose, whole.tracks[0].pose[:2])
    assert whole.first(99).num_frames == 6
    assert same(whole.first(99), whole)


def test_an_empty_or_unseen_track_has_a_seen_rate_of_zero():
    assert track(t=0).seen_rate == 0
    assert unseen(4).seen_rate == 0
    assert not np.isfinite(unseen(4).landmarks).any()


def test_seen_is_true_or_false():
    good = track()
    with pytest.raises(ValueError, match="seen is of type float64, expected bool"):
        replace(good, seen=np.ones(6))


@pytest.mark.parametrize(
    "change",
    [
        *({"fps": 0}, {"fps": -25.0}, {"fps": np.inf}, {"fps": np.nan}),
        *({"width": -1}, {"height": 48.0}, {"num_frames": True}, {"made_by": 3}, {"video_sha256": None}),
    ],
    ids=str,
)
def test_impossible_properties_are_refused(change):
    with pytest.raises(ValueError, match=r"frames a second|frames, width and height"):
        replace(tracks(track()), **change)


@pytest.mark.parametrize("count", [64, 65])
def test_the_number_of_faces_is_limited(tmp_path, count):
    save_tracks(tmp_path / "a.npz", tracks(*[track(t=1)] * count, t=1))
    if count == 64:
        assert len(load_tracks(tmp_path / "a.npz").tracks) == 64
    else:
        with pytest.raises(TracksError, match="65 faces are more than 64"):
            load_tracks(tmp_path / "a.npz")


@pytest.mark.parametrize("schema", [0, 2, None])
def test_tracks_of_another_schema_are_refused(tmp_path, schema):
    with np.load(io.BytesIO(pack_tracks(tracks(track()))), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = {**json.loads(arrays["meta"].tobytes()), "schema": schema}
    np.savez(tmp_path / "a.npz", **{**arrays, "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)})
    with pytest.raises(TracksError, match="tracks of another schema than 1"):
        load_tracks(tmp_path / "a.npz")


class Bomb:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_nothing_is_unpickled(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", meta=np.array([Bomb()], dtype=object))
    with pytest.raises(TracksError):
        load_tracks(tmp_path / "a.npz")
    assert "unpickled" not in capsys.readouterr().out


def changed(path, **meta):
    """Write tracks of nobody whose metadata differ."""
    save_tracks(path, tracks())
    with np.load(path) as file:
        arrays = dict(file)
    values = {**json.loads(arrays["meta"].tobytes()), **meta}
    arrays["meta"] = np.frombuffer(json.dumps(values).encode(), np.uint8)
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize(
    "meta",
    [
        {"num_frames": 10**12},
        {"width": 10**400},
        {"height": -1},
        {"fps": 1e300},
        {"fps": "25"},
        {"made_by": "x" * 10**6},
        {"made_by": "\ud800"},
        {"video_sha256": ["a"]},
        {"num_frames": [[[[]]]]},
    ],
)
def test_absurd_metadata_is_refused(tmp_path, meta):
    with pytest.raises(TracksError, match="tracks_invalid: not a track file"):
        load_tracks(changed(tmp_path / "a.npz", **meta))


def test_a_file_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    from exprbench.faces import tracks as module

    path = tmp_path / "a.npz"
    np.savez_compressed(path, meta=np.zeros(10**7, np.uint8))
    monkeypatch.setattr(module, "MAX_BYTES", 10**6)
    monkeypatch.setattr(module, "unpack_arrays", lambda _: pytest.fail("it was unpacked"))
    assert path.stat().st_size < 10**6
    with pytest.raises(TracksError, match="10000128 bytes are more than 1000000"):
        load_tracks(path)


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TracksError, match="1099511627776 bytes are more than"):
        load_tracks(tmp_path / "a.npz")


def test_deeply_nested_metadata_are_refused(tmp_path):
    save_tracks(tmp_path / "a.npz", tracks())
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    arrays["meta"] = np.frombuffer(b"[" * 200_000, np.uint8)
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(TracksError, match="RecursionError"):
        load_tracks(tmp_path / "a.npz")
