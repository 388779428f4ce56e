"""What holds for every metric at once, whatever it is given: each column against the promises of its kind."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from exprbench.faces import FaceTrack, FaceTracks
from exprbench.metrics.frechet import frechet_distance
from exprbench.metrics.matching import match_tracks
from exprbench.metrics.moments import merge, moments
from exprbench.metrics.psnr import frame_mean, psnr, squared_error
from exprbench.metrics.set_distance import prepare, set_distance
from exprbench.metrics.ssim import ssim
from tests.metrics.faces import SIZE, any_face, face_errors, hidden, pair, poses

FRAMES = 5
ONE_SIDED = {"lmd_iod", "lmd_rigid", "mae_open"}  # in the reference's measure, or laid on it, or by its lids
OF_LANDMARKS = {"lmd", "lmd_px", "lmd_iod", "lmd_rigid", "lmd_mesh", "lmd_lips", "lmd_eyes", "lmd_brows"}
few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)


def faces(seed, apart=0.02):
    """A face, and the same one some way off in every respect."""
    rng = np.random.default_rng(seed)
    reference = any_face(FRAMES, seed)
    turned = Rotation.from_matrix(reference.pose[:, :3, :3]) * Rotation.from_rotvec(rng.normal(0, apart, (FRAMES, 3)))
    noise = rng.normal(0, apart, reference.landmarks.shape)
    predicted = replace(
        reference,
        landmarks=(reference.landmarks + noise).astype(np.float32),
        blendshapes=np.clip(reference.blendshapes + rng.normal(0, apart, (FRAMES, 52)), 0, 1).astype(np.float32),
        pose=poses(turned).astype(np.float32),
    )
    return reference, predicted


def frames_of(track, chosen):
    return FaceTrack(**{f.name: getattr(track, f.name)[chosen] for f in fields(FaceTrack)})


def assert_alike(found, expected, columns=None, **tolerance):
    assert found.keys() == expected.keys()
    for name in columns or found:
        np.testing.assert_allclose(found[name], expected[name], err_msg=name, **{"rtol": 1e-9, **tolerance})


def assert_alike_but_for_rounding(found, expected):
    """Compare errors of rounded landmarks: in float32 an eye 0.05 wide resolves angles to 7e-5 degrees."""
    angles = {name for name in found if name.startswith("mae")}
    assert_alike(found, expected, found.keys() - angles, rtol=1e-3, atol=1e-5)
    assert_alike(found, expected, angles, rtol=1e-3, atol=1e-3)


@few
@given(seeds)
def test_a_face_is_at_no_distance_from_itself(seed):
    reference, _ = faces(seed)
    for name, errors in face_errors(pair(reference, reference)).items():
        open_eyed = ~np.isnan(errors) if name == "mae_open" else slice(None)
        np.testing.assert_allclose(errors[open_eyed], 0, atol=1e-12, err_msg=name)


@few
@given(seeds)
def test_which_side_is_the_reference_matters_only_where_it_is_the_measure(seed):
    a, b = faces(seed)
    there, back = face_errors(pair(a, b)), face_errors(pair(b, a))
    assert_alike(there, back, there.keys() - ONE_SIDED)


@few
@given(seeds, st.permutations(range(FRAMES)))
def test_frames_are_scored_one_by_one(seed, order):
    """In any order, and alone: neither the frames beside one nor their number changes its errors."""
    a, b = faces(seed)
    whole = face_errors(pair(a, b))
    turned = face_errors(pair(frames_of(a, order), frames_of(b, order)))
    assert_alike(turned, {name: errors[order] for name, errors in whole.items()})
    alone = face_errors(pair(frames_of(a, [2]), frames_of(b, [2])))
    assert_alike(alone, {name: errors[[2]] for name, errors in whole.items()})


@few
@given(seeds, st.sets(st.integers(0, FRAMES - 1)), st.sets(st.integers(0, FRAMES - 1)))
def test_what_one_side_does_not_show_has_no_value_and_changes_no_other(seed, here, there):
    a, b = faces(seed)
    whole = face_errors(pair(a, b))
    seen = np.array([t not in here | there for t in range(FRAMES)])
    found = face_errors(pair(hidden(a, *here), hidden(b, *there)))
    assert_alike(found, {name: np.where(seen, errors, np.nan) for name, errors in whole.items()})


@few
@given(seeds, st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))
def test_where_both_faces_stand_is_of_no_matter(seed, dx, dy):
    sides = faces(seed)
    moved = [replace(side, landmarks=side.landmarks + np.array([dx, dy, 0], np.float32)) for side in sides]
    assert_alike_but_for_rounding(face_errors(pair(*moved)), face_errors(pair(*sides)))


@few
@given(seeds, st.floats(0.25, 4))
def test_faces_twice_as_large_are_twice_as_far_apart(seed, scale):
    """Distances of landmarks in the frame's unit grow with the faces; in the faces' own unit they do not."""
    sides = faces(seed)
    larger = [replace(side, landmarks=side.landmarks * np.float32(scale)) for side in sides]
    found, before = face_errors(pair(*larger)), face_errors(pair(*sides))
    grows = OF_LANDMARKS - {"lmd_iod"}
    expected = {name: errors * (scale if name in grows else 1) for name, errors in before.items()}
    assert_alike_but_for_rounding(found, expected)


@few
@given(seeds, st.integers(1, 4))
def test_a_video_of_more_pixels_shows_the_same(seed, times):
    sides, size = faces(seed), (SIZE[0] * times, SIZE[1] * times)
    found, before = face_errors(pair(*sides, size=size)), face_errors(pair(*sides))
    assert_alike(found, {**before, "lmd_px": before["lmd_px"] * times})


@few
@given(seeds, st.tuples(*[st.floats(-1, 1)] * 3))
def test_the_angle_between_two_heads_does_not_depend_on_the_camera(seed, vector):
    a, b = faces(seed)
    turn = Rotation.from_rotvec(vector)
    turned = [replace(s, pose=poses(turn * Rotation.from_matrix(s.pose[:, :3, :3])).astype(np.float32)) for s in (a, b)]
    found, before = face_errors(pair(*turned))["apd_deg"], face_errors(pair(a, b))["apd_deg"]
    np.testing.assert_allclose(found, before, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_every_error_grows_with_the_damage(seed):
    ladder = [face_errors(pair(*faces(seed, apart))) for apart in (0.0, 0.003, 0.01, 0.03, 0.1)]
    for name in ladder[0]:
        means = [np.nanmean(step[name]) for step in ladder]
        assert means == sorted(means), name
        assert means[-1] > 0, name


def pictures(seed, height=24, width=40):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (height // 4, width // 4, 3)).repeat(4, 0).repeat(4, 1)
    noisy = base + rng.normal(0, 12, base.shape)
    return base.astype(np.uint8), np.clip(noisy, 0, 255).astype(np.uint8)


TURNS = {
    "left to right": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "rows for columns": lambda image: image.transpose(1, 0, 2),
    "colours": lambda image: image[..., [2, 0, 1]],
    "negative": lambda image: 255 - image,
}


@pytest.mark.parametrize("name", TURNS)
@few
@given(seed=seeds)
def test_pixels_may_change_places_on_both_sides(name, seed):
    sides = pictures(seed)
    turned = [np.ascontiguousarray(TURNS[name](image)) for image in sides]
    assert squared_error(*turned) == squared_error(*sides)
    if name != "negative":  # SSIM compares means with each other: dark ones weigh more
        assert ssim(*turned) == pytest.approx(ssim(*sides), abs=1e-12)


@few
@given(seeds)
def test_frames_of_a_video_score_what_they_score_alone(seed):
    pairs = [pictures(seed + i) for i in range(4)]
    errors = [squared_error(*p) for p in pairs]
    assert frame_mean(errors, pairs[0][0].size) == pytest.approx(np.mean([psnr(*p) for p in pairs]), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_pixels_score_less_with_the_damage(seed):
    base = pictures(seed)[0].astype(np.float64)
    noise = np.random.default_rng(seed).normal(0, 1, base.shape)
    ladder = [np.clip(base + amount * noise, 0, 255).astype(np.uint8) for amount in (0, 2, 8, 30, 90)]
    for metric in (psnr, ssim):
        scores = [metric(ladder[0], image) for image in ladder]
        assert scores == sorted(scores, reverse=True)


def clouds(seed, num=3, dims=6):
    rng = np.random.default_rng(seed)
    counts = rng.integers(dims + 2, 30, num) if seed % 2 else rng.integers(2, dims, num)
    return [rng.normal(rng.normal(0, 1, dims), rng.uniform(0.2, 2, dims), (n, dims)) for n in counts]


@few
@given(seeds)
def test_roots_of_frechet_distances_are_a_metric(seed):
    """No detour is shorter."""
    a, b, c = clouds(seed)
    ab, bc, ac = (np.sqrt(max(0, frechet_distance(*two))) for two in ((a, b), (b, c), (a, c)))
    assert ac <= ab + bc + 1e-6


@few
@given(seeds)
def test_turning_all_features_alike_keeps_frechet_distances(seed):
    a, b, _ = clouds(seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-8, abs=1e-9)


@few
@given(seeds, st.permutations(range(5)))
def test_the_order_of_videos_is_of_no_matter_to_sets(seed, order):
    rng = np.random.default_rng(seed)
    sides = [{f"v{i}": rng.normal(s, 1, (4, 6)).astype(np.float32) for i in range(5)} for s in (0, 0.5)]
    shuffled = [{f"v{i}": side[f"v{i}"] for i in order} for side in sides]
    whole, other = (set_distance(r, p, prepare(r)) for r, p in (sides, shuffled))
    assert (other.value, other.low, other.high) == pytest.approx((whole.value, whole.low, whole.high), rel=1e-6)


@few
@given(seeds, st.lists(st.integers(0, 30), max_size=4))
def test_moments_of_any_cut_are_those_of_the_whole(seed, cuts):
    features = np.random.default_rng(seed).normal(3, 1, (30, 4))
    parts = [part for part in np.split(features, sorted(cuts)) if len(part)]
    merged, whole = merge(moments(part) for part in parts), moments(features)
    np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-10, atol=1e-12)


def video(*tracks):
    return FaceTracks(num_frames=FRAMES, width=SIZE[0], height=SIZE[1], fps=25.0, tracks=tracks, made_by="given")


def placed(seed, x):
    face = any_face(FRAMES, seed)
    shift = np.array([x - 0.5, 0, 0], np.float32)
    return replace(
        face, landmarks=face.landmarks + shift, box=face.box + np.array([x - 0.5, 0, x - 0.5, 0], np.float32)
    )


@few
@given(seeds, st.permutations(range(3)), st.floats(-0.02, 0.02))
def test_people_are_found_in_whatever_order_they_are_told(seed, order, drift):
    places = (0.2, 0.5, 0.8)
    reference = video(*(placed(seed + i, x) for i, x in enumerate(places)))
    predicted = video(*(placed(seed + i, places[i] + drift) for i in order))
    assert match_tracks(reference, predicted).predicted == tuple(order.index(i) for i in range(3))
