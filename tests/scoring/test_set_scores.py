"""Distances between sets, through toy networks, compared with the functions they are composed of."""

import numpy as np
import pytest

from exprbench.media import read_clip
from exprbench.metrics.clip_grid import DEFAULT_GRID, PRESETS
from exprbench.metrics.extractors import clip_features, frame_features
from exprbench.metrics.set_distance import set_distance
from exprbench.scoring import computations
from tests.scoring.conftest import NUM_FRAMES
from tests.toys import ClipBits, FrameBits
from tests.videos import numbered

OWN, OTHER = "single-self-0001", "single-self-0002"
DRIVERS = {OWN: "driving/ada.mp4", OTHER: "driving/dee.mp4"}
TOYS = {"fid": FrameBits(), "fvd": ClipBits()}
GRIDS = {"fvd": DEFAULT_GRID, **{f"fvd_{name}": grid for name, grid in PRESETS.items()}}


@pytest.fixture
def spoilt(method):
    """Two predictions that differ from their references in different ways."""
    for case_id, step in ((OWN, 7), (OTHER, 3)):
        method.write(case_id, [numbered(step * i % 200) for i in range(NUM_FRAMES)])
    return method


def score(method, *metrics, networks=TOYS):
    return method.score(metrics=metrics, split="single", track="self", networks=networks).groups[0]


def expected(method, read, biased=False):
    """The distance between the features `read(frames, case_id)` of both sides."""
    sides = [{c: read(read_clip(method.bench.path(path))[0], c) for c, path in DRIVERS.items()}]
    sides.append({c: read(read_clip(method.path(c))[0], c) for c in DRIVERS})
    return set_distance(*sides, biased=biased)


def assert_same(found, made):
    assert found.value == pytest.approx(made.value, rel=1e-9)
    assert (found.low, found.high) == (pytest.approx(made.low), pytest.approx(made.high))
    assert (found.bias_floor is None) == (made.bias_floor is None)
    assert found.bias_floor is None or found.bias_floor == pytest.approx(made.bias_floor)
    assert (found.num_videos, found.num_samples) == (made.num_videos, made.num_samples)
    assert found.rank == min(made.rank, made.reference_rank)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("column", GRIDS)
def test_fvd_uses_the_clips_of_its_grid(spoilt, toy_models, column):
    grid = GRIDS[column]
    made = expected(spoilt, lambda frames, name: clip_features(frames, ClipBits(), grid, name), grid.biased)
    found = score(spoilt, column, networks=None).aggregates[column]
    assert found.value > 0.01
    assert_same(found, made)


@pytest.mark.parametrize("column", [*(name for name in GRIDS if name != "fvd"), "fid_pytorch"])
def test_a_preset_is_not_defined_for_another_network(spoilt, column):
    assert score(spoilt, column).unscored == {column: "not defined for the network bits"}


def test_fid_uses_all_frames(spoilt):
    made = expected(spoilt, lambda frames, _: frame_features(frames, FrameBits()))
    assert_same(score(spoilt, "fid").aggregates["fid"], made)
    assert made.bias_floor > 0


def test_the_rank_is_the_lower_of_the_two(spoilt):
    for case_id in DRIVERS:
        spoilt.write(case_id, [numbered(i % 2) for i in range(NUM_FRAMES)])
    assert (
        score(spoilt, "fid").aggregates["fid"].rank
        < 5
        < expected(spoilt, lambda frames, _: frame_features(frames, FrameBits())).reference_rank
    )


def test_a_prediction_too_short_for_a_clip_excludes_its_reference(spoilt):
    spoilt.write(OTHER, [numbered(i) for i in range(15)])
    group = score(spoilt, "fid", "fvd")
    assert (group.aggregates["fvd"].num_videos, group.aggregates["fvd"].num_samples) == (1, 2)
    assert (group.aggregates["fid"].num_videos, group.aggregates["fid"].num_samples) == (2, 40 + 15)
    spoilt.write(OWN, [numbered(i) for i in range(15)])
    assert score(spoilt, "fvd").unscored["fvd"].startswith("too_few_samples: no prediction is long enough")


def test_a_missing_prediction_keeps_its_reference(spoilt):
    whole = score(spoilt, "fid").aggregates["fid"]
    spoilt.path(OTHER).unlink()
    alone = score(spoilt, "fid").aggregates["fid"]
    assert (alone.num_videos, alone.num_samples) == (1, NUM_FRAMES)
    assert alone.bias_floor == whole.bias_floor > 0
    assert alone.value != whole.value


def test_the_published_networks_are_those_of_their_columns(model_file, monkeypatch):
    made = []

    class Network:
        def __init__(self, path, **options):
            made.append((path.name, options))

    monkeypatch.setattr("exprbench.metrics.fid.InceptionFeatures", Network)
    monkeypatch.setattr("exprbench.metrics.fvd.I3DFeatures", Network)
    paths = {name: model_file(name, lambda path: path.write_bytes(b"a model")).name for name in ("inception", "i3d")}
    for column in ("fid", "fid_pytorch", "fvd", "fvd_videogpt", "fvd_cdfvd"):
        computations.load_network(column, "cuda")
    assert made == [
        (paths["inception"], {"device": "cuda", "resize": "clean299"}),
        (paths["inception"], {"device": "cuda", "resize": "pytorch299"}),
        (paths["i3d"], {"device": "cuda", "fit": "squash224"}),
        (paths["i3d"], {"device": "cuda", "fit": "crop224"}),
        (paths["i3d"], {"device": "cuda", "fit": "aa-crop256-byte-224"}),
    ]


def test_equal_videos_have_a_distance_of_zero(method):
    found = score(method, "fid", "fvd").aggregates
    assert max(a.value for a in found.values()) < 1e-9
    assert np.isfinite(found["fid"].bias_floor)


def test_cross_cases_have_no_sets_to_compare(method):
    record = method.score(metrics=["fid", "mae"], split="single", networks=TOYS)
    own, cross = record.groups
    assert "fid" in own.aggregates
    assert not {"fid", "fid_video_mean"} & (cross.aggregates.keys() | cross.unscored.keys())
