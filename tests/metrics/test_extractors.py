import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exprbench.metrics.clip_grid import DEFAULT_GRID, MIN_FRAMES, PRESETS, ClipGrid
from exprbench.metrics.extractors import (
    ClipFeatures,
    FrameFeatures,
    clip_features,
    fid_id,
    frame_features,
    fvd_id,
)


class Brightness:
    """Features that tell which frames were seen, and how many at once."""

    id, num_features = "brightness", 2

    def __init__(self, batch):
        self.batch, self.calls = batch, []

    def prepare(self, frame):
        return float(frame[0, 0, 0])

    def features(self, prepared):
        self.calls.append(len(prepared))
        return np.array([[p, p**2] for p in prepared], np.float32)


class Moments(Brightness):
    def features(self, prepared):
        self.calls.append(len(prepared))
        return np.array([[clip[0], sum(clip)] for clip in prepared], np.float32)


def frames(count):
    return [np.full((4, 4, 3), i % 256, np.uint8) for i in range(count)]


@given(st.integers(0, 40), st.integers(1, 12))
def test_frames_come_out_in_order_whatever_the_batch(count, batch):
    net = Brightness(batch)
    assert frame_features(frames(count), net)[:, 0].tolist() == list(range(count))
    assert sum(net.calls) == count
    assert all(size == batch for size in net.calls[:-1])


@given(st.integers(0, 130), st.integers(1, 5))
def test_clips_are_those_of_the_grid(count, batch):
    net = Moments(batch)
    got = clip_features(frames(count), net)
    starts = range(0, count - 15, 16)
    assert got.tolist() == [[s, sum(range(s, s + 16))] for s in starts]


@given(st.integers(MIN_FRAMES, 20), st.integers(1, 25), st.integers(0, 90))
def test_clips_may_overlap_and_may_leave_gaps(length, hop, count):
    grid = ClipGrid(num_frames=length, hop=hop)
    got = clip_features(frames(count), Moments(3), grid)
    assert got.tolist() == [[s, sum(range(s, s + length))] for s in range(0, count - length + 1, hop)]


def test_a_clip_of_125_frames_is_cut_seven_times():
    assert DEFAULT_GRID.spans(125) == [(s, s + 16) for s in (0, 16, 32, 48, 64, 80, 96)]


def test_only_the_frames_of_unfinished_clips_are_kept():
    collector = ClipFeatures(Moments(1), 125)
    kept = []
    for frame in frames(125):
        collector.update(frame)
        kept.append(len(collector.frames))
    assert max(kept) == 15
    assert kept[-1] == 0


def test_a_shorter_prediction_is_cut_like_its_reference_and_lacks_what_it_lacks():
    grid = PRESETS["styleganv16"]
    ((first, last),) = grid.spans(125, "case")
    collector = ClipFeatures(Moments(1), 125, grid, "case")
    for frame in frames(last - 1):
        collector.update(frame)
    assert collector.compute().shape == (0, 2)
    assert 0 <= first < last <= 125


def test_whole_videos_are_one_clip_however_many_frames_came():
    grid = PRESETS["one_clip_per_video"]
    assert clip_features(frames(60), Moments(1), grid).tolist() == [[0, sum(range(60))]]
    collector = ClipFeatures(Moments(1), 60, grid)
    for frame in frames(40):
        collector.update(frame)
    assert collector.compute().tolist() == [[0, sum(range(40))]]
    assert clip_features(frames(MIN_FRAMES - 1), Moments(1), grid).shape == (0, 2)


def test_seeded_clips_depend_on_the_video_and_nothing_else():
    grid = PRESETS["cdfvd"]
    drawn = {name: grid.spans(125, name)[0] for name in map(str, range(60))}
    assert drawn == {name: grid.spans(125, name)[0] for name in map(str, range(60))}
    starts = [first for first, _ in drawn.values()]
    assert len(set(starts)) > 30
    assert min(starts) >= 0
    assert max(starts) <= 109
    assert PRESETS["styleganv16"].spans(125, "0") != grid.spans(125, "0")


def test_seeded_clips_are_the_same_everywhere():
    """Drawn by a hash instead of a library, whose next version can draw other clips."""
    videos = [f"single-self-000{i}" for i in (1, 2, 3)]
    starts = {name: [PRESETS[name].spans(125, v)[0][0] for v in videos] for name in ("styleganv16", "cdfvd")}
    assert starts == {"styleganv16": [57, 96, 67], "cdfvd": [13, 68, 47]}


def test_a_seeded_clip_can_be_the_last_possible_one():
    starts = {PRESETS["cdfvd"].spans(18, str(i))[0][0] for i in range(60)}
    assert starts == {0, 1, 2}


def test_the_ids_say_how_clips_are_cut():
    class Fitted(Moments):
        id, fit = "i3d-k400", "squash224"

    assert fid_id(Brightness(1)) == "fid[brightness]"
    assert fvd_id(Moments(1)) == "fvd[brightness,16f,hop16]"
    assert fvd_id(Fitted(1)) == "fvd[i3d-k400,16f,hop16,squash224]"
    assert {name: grid.label() for name, grid in PRESETS.items()} == {
        "styleganv16": "16f,seed0,squash224,cov1/n",
        "videogpt": "16f,first,crop224",
        "cdfvd": "16f,seed42,aa-crop256-byte-224,cov1/n",
        "common_metrics": "allf,crop224",
        "one_clip_per_video": "allf,squash224",
    }


@pytest.mark.parametrize("bad", [{"num_frames": 9}, {"hop": 0}, {"num_frames": None}])
def test_grids_that_cannot_be_are_refused(bad):
    with pytest.raises(ValueError, match=r"clips of|hop of"):
        ClipGrid(**bad)


def test_no_frames_have_no_features():
    assert FrameFeatures(Brightness(4)).compute().shape == (0, 2)
    assert FrameFeatures(Brightness(4)).compute().dtype == np.float32
