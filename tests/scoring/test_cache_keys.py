"""A cached result is used only if everything it depends on is unchanged.

Each change below scores once, changes one thing, and scores again. With everything of the first run in the cache the
second has to give what it gives without a cache.
"""

from dataclasses import replace

import pytest

from exprbench.core.files import sha256_path
from exprbench.faces import video_tracks
from exprbench.faces.tracks import load_tracks
from exprbench.faces.video_tracks import given_path
from exprbench.media import write_video
from exprbench.metrics import COLUMNS, ssim
from exprbench.scoring import cases, computations, set_scores
from tests.people import give, moved, person
from tests.scoring.conftest import NUM_FRAMES, without_timing
from tests.scoring.world import FACES, KINDS, OTHER, OWN, PAIR, PAPER, SETS, TOYS, World
from tests.toys import ClipBits, FrameBits, OneFace
from tests.videos import numbered


def another_prediction(world):
    yield {}
    world.other_pictures()
    yield {}


def another_prediction_for_the_networks(world):
    world.other_pictures()
    yield {**SETS, "networks": TOYS}
    world.method.write(OWN, [numbered(0)] * NUM_FRAMES)
    yield {**SETS, "networks": TOYS}


def other_tracks_given(world):
    yield FACES
    tracks = world.method.tracks(OWN)
    world.method.give(OWN, replace(tracks, tracks=(moved(tracks.tracks[0], 0.01),)))
    yield FACES


def tracks_no_longer_given(world):
    yield FACES
    world.without_tracks(OneFace())
    yield FACES


def another_version_of_the_tracker(world):
    world.without_tracks(OneFace())
    yield FACES
    world.without_tracks(OneFace(gain=0.9))
    world.patch.setattr(video_tracks, "TRACKER", "follow-next")
    yield FACES


def another_driver(world):
    yield {**SETS, "networks": TOYS}

    def reverse(path):
        write_video(path, (numbered(i) for i in reversed(range(NUM_FRAMES))))
        give(path, replace(load_tracks(given_path(path)), video_sha256=sha256_path(path)))

    world.changed_benchmark(files={"driving/ada.mp4": reverse})
    yield {**SETS, "networks": TOYS}


def other_tracks_of_a_driver(world):
    yield FACES

    def move(path):
        tracks = load_tracks(given_path(path))
        give(path, replace(tracks, tracks=(moved(tracks.tracks[0], 0.01),)))

    world.changed_benchmark(files={"driving/ada.mp4": move})
    yield FACES


def one_of_two(world):
    """The prediction for the pair's portrait shows only one of them, who stands on the left."""
    tracks = world.method.tracks(PAIR)
    world.method.give(PAIR, replace(tracks, tracks=(moved(person(NUM_FRAMES, x=0.3, seed=8), 0),)))


def other_tracks_of_a_portrait(world):
    one_of_two(world)
    yield {"metrics": ["aed"], "split": "multi", "track": "cross"}

    def turn(path):
        tracks = load_tracks(given_path(path))
        give(path, replace(tracks, tracks=tracks.tracks[::-1]))

    world.changed_benchmark(files={"portraits/multi-pair.png": turn})
    yield {"metrics": ["aed"], "split": "multi", "track": "cross"}


def drivers_faces_exchanged(world):
    yield {"metrics": ["aed"], "split": "multi"}
    cases = [replace(c, face_map=c.face_map[::-1]) if c.case_id == PAIR else c for c in world.method.bench.cases]
    world.changed_benchmark(cases=tuple(cases))
    yield {"metrics": ["aed"], "split": "multi"}


def cases_renumbered(world):
    world.other_pictures()
    yield {**SETS, "networks": TOYS}
    names = {OWN: OTHER, OTHER: OWN}
    cases = [replace(c, case_id=names.get(c.case_id, c.case_id)) for c in world.method.bench.cases]
    world.changed_benchmark(cases=tuple(cases))
    ours, theirs, aside = world.method.path(OWN), world.method.path(OTHER), world.folder / "aside.mp4"
    for a, b in ((ours, aside), (theirs, ours), (aside, theirs)):
        a.rename(b)
        given_path(a).rename(given_path(b))
    yield {**SETS, "networks": TOYS}


def another_rate(world):
    yield {**FACES, "metrics": ["psnr"]}
    world.changed_benchmark(fps=12.5)
    yield {**FACES, "metrics": ["psnr"]}


def another_rate_for_the_networks(world):
    world.other_pictures()
    yield {**SETS, "networks": TOYS}
    world.changed_benchmark(fps=12.5)
    yield {**SETS, "networks": TOYS}


def another_network(world):
    world.other_pictures()
    yield {**SETS, "networks": TOYS}
    yield {**SETS, "networks": {"fid": FrameBits("other", 2), "fvd": ClipBits("other", 2)}}


def toy(name, gain):
    return KINDS[COLUMNS[name].parent](gain=gain)


def another_file_of_the_published_network(world):
    world.other_pictures()
    for gain in (1, 2):
        for name in ("inception", "i3d"):
            world.model_file(name, lambda path, gain=gain: path.write_text(str(gain)))
        world.patch.setattr(computations, "load_network", lambda name, _, gain=gain: toy(name, gain))
        yield SETS


def on_two_devices(world, options):
    world.other_pictures()
    world.paper_networks()
    for name in ("inception", "i3d"):
        world.model_file(name, lambda path: path.write_bytes(b"a model"))
    gains = {"cpu": 1, "cuda": 2}
    world.patch.setattr(computations, "load_network", lambda name, device: toy(name, gains[device]))
    world.patch.setattr("exprbench.scoring.run._device_name", lambda: "a GPU")
    for device in gains:
        world.patch.setattr("exprbench.scoring.planning.torch_device", lambda *_, device=device: device)
        yield options


def another_device(world):
    yield from on_two_devices(world, SETS)


def another_device_for_the_papers_networks(world):
    yield from on_two_devices(world, PAPER)


def another_profile(world):
    world.paper_networks()
    world.other_pictures()
    yield {**PAPER, "metrics": ["apd"], "profile": "mediapipe"}
    yield {**PAPER, "metrics": ["apd"]}


def another_prediction_read_by_the_papers_networks(world):
    world.paper_networks()
    yield PAPER
    world.other_pictures()
    yield PAPER


def other_tracks_read_by_the_papers_networks(world):
    world.paper_networks()
    world.other_pictures()
    yield PAPER
    tracks = world.method.tracks(OWN)
    world.method.give(OWN, replace(tracks, tracks=(moved(tracks.tracks[0], 0.2),)))
    yield PAPER


def missing_faces_penalised(world):
    tracks = world.method.tracks(OWN)
    world.method.give(OWN, replace(tracks, tracks=(person(NUM_FRAMES, seed=0, hidden=range(10)),)))
    yield FACES
    yield {**FACES, "missing": "penalty"}


def a_model_file_that_was_missing(world):
    world.other_pictures()
    world.patch.setenv("EXPRBENCH_WEIGHTS", "")
    yield PAPER
    world.patch.setenv("EXPRBENCH_WEIGHTS", str(world.folder / "weights"))
    world.paper_networks()
    yield PAPER


def other_metrics(world):
    yield {**FACES, "metrics": ["lmd"]}
    yield {**FACES, "metrics": ["lmd", "psnr"]}


def a_new_version_of_the_cases(world):
    yield {}
    score_faces = cases.score_faces
    world.patch.setattr(cases, "VERSION", "case-new")
    world.patch.setattr(cases, "score_faces", lambda *args: replace(score_faces(*args), num_extra=9))
    yield {}


def a_new_version_of_the_pixels(world):
    yield {}
    world.patch.setattr(computations, "PIXELS", "pixels-new")
    world.patch.setattr(ssim, "ssim", lambda *_: 0.5)
    yield {}


def a_new_version_of_the_sets(world):
    world.other_pictures()
    yield {**SETS, "networks": TOYS}
    prepare = set_scores.prepare
    world.patch.setattr(set_scores, "VERSION", "sets-new")
    world.patch.setattr(
        set_scores, "prepare", lambda *args, **options: replace(prepare(*args, **options), bias_floor=1.0)
    )
    yield {**SETS, "networks": TOYS}


def a_shorter_prediction(world):
    """The reference is cut to the frames both have, so its features change too."""
    world.other_pictures()
    yield {**SETS, "networks": TOYS}
    world.method.write(OWN, [numbered(7 * i % 100) for i in range(20)])
    yield {**SETS, "networks": TOYS}


def a_longer_prediction(world):
    """The cached features of the reference cover all its frames, not only those of the first prediction."""
    world.method.write(OWN, [numbered(7 * i % 100) for i in range(20)])
    yield {**SETS, "networks": TOYS}
    world.other_pictures()
    yield {**SETS, "networks": TOYS}


CHANGES = (
    another_prediction,
    another_prediction_for_the_networks,
    other_tracks_given,
    tracks_no_longer_given,
    another_version_of_the_tracker,
    another_driver,
    other_tracks_of_a_driver,
    other_tracks_of_a_portrait,
    drivers_faces_exchanged,
    cases_renumbered,
    another_rate,
    another_rate_for_the_networks,
    another_network,
    another_file_of_the_published_network,
    another_device,
    another_device_for_the_papers_networks,
    another_profile,
    another_prediction_read_by_the_papers_networks,
    other_tracks_read_by_the_papers_networks,
    missing_faces_penalised,
    a_model_file_that_was_missing,
    other_metrics,
    a_new_version_of_the_cases,
    a_new_version_of_the_pixels,
    a_new_version_of_the_sets,
    a_shorter_prediction,
    a_longer_prediction,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_with_a_full_cache_a_change_gives_what_it_gives_without_one(change, method, monkeypatch, tmp_path, model_file):
    steps = change(World(method, monkeypatch, tmp_path, model_file))
    before = method.score(**next(steps))
    options = next(steps)
    warm = method.score(**options)
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "empty"))
    cold = method.score(**options)
    assert without_timing(warm) == without_timing(cold)
    assert {c.outcome for c in cold.cases} == {"scored"}
    assert (cold.cases, cold.groups) != (before.cases, before.groups)  # or the change would show nothing
