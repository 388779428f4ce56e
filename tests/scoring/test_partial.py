"""Predictions that would win by showing less than the reference, or something else: marked, and never the best."""

import csv
import io
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from exprbench import table
from exprbench.leaderboard.marks import NOTES
from exprbench.media import write_video
from exprbench.scoring import run as run_module
from exprbench.toy_benchmark.toy_networks import DemoClipNet, DemoImageNet
from tests.people import person
from tests.scoring.conftest import NUM_FRAMES, Method, case_of

WHOLE = ("honest", "twin")
SELF, OTHER = "single-self-0001", "single-self-0002"
METRICS = ["fid", "fvd", "psnr", "ssim", "lmd", "mae", "aed", "apd"]
NETWORKS = {"fid": DemoImageNet(), "fvd": DemoClipNet()}


def squeezed(track, scale, offset):
    """The same face, with x mapped to scale * x + offset."""
    factor, shift = np.array([scale, 1, 1], np.float32), np.array([offset, 0, 0], np.float32)
    box = track.box * np.float32([scale, 1, scale, 1]) + np.float32([offset, 0, offset, 0])
    return replace(track, landmarks=track.landmarks * factor + shift, box=box)


def first(count):
    return lambda frames, tracks: (frames[:count], tracks.first(count))


def concatenated(frames, tracks, panel=40):
    """A small copy of the frame on the left: its face is nearer to the reference's place than that of a half."""
    (face,) = tracks.tracks
    width = tracks.width + panel
    both = squeezed(face, panel / width, 0), squeezed(face, tracks.width / width, panel / width)
    left = [cv2.resize(f, (panel, tracks.height)) for f in frames]
    return [np.hstack(pair) for pair in zip(left, frames, strict=True)], replace(tracks, width=width, tracks=both)


def padded(frames, tracks, width=288):
    left = (width - tracks.width) // 2
    faces = tuple(squeezed(face, tracks.width / width, left / width) for face in tracks.tracks)
    pad = ((0, 0), (left, left), (0, 0))
    return [np.pad(f, pad) for f in frames], replace(tracks, width=width, tracks=faces)


def honest(frames, tracks):
    """Worse than all the others: blurred, late, with another expression."""
    late = tuple(replace(face, pose=face.pose[::-1], blendshapes=face.blendshapes * 0.5) for face in tracks.tracks)
    blurred = [cv2.GaussianBlur(f, (0, 0), 3) for f in frames]
    return [blurred[0], *blurred[:-1]], replace(tracks, tracks=late)


CHANGES = {
    "one frame": first(1),
    "half": first(NUM_FRAMES // 2),
    "side by side": concatenated,
    "padded": padded,
    "shard": first(NUM_FRAMES),
    WHOLE[0]: honest,
    WHOLE[1]: honest,
}


def scored(method, name, **options):
    """The record of a changed copy of perfect predictions."""
    copy = Method(method.bench, method.folder.parent / name)
    copy.folder.mkdir()
    for case in method.bench.select("single"):
        frames, tracks = CHANGES[name](method.frames(case.case_id), method.tracks(case.case_id))
        write_video(copy.path(case.case_id), frames, fps=25, crf=0)
        copy.give(case.case_id, tracks)
    options = {"metrics": METRICS, "networks": NETWORKS, "split": "single", "method": name, **options}
    return copy.score(**options)


@pytest.fixture
def records(method):
    return [scored(method, name, **({"shard": (1, 2)} if name == "shard" else {})) for name in CHANGES]


PARTIAL = {"one frame": "c", "half": "c", "side by side": "ae", "padded": "a", "shard": "s"}
EXPECTED = {**PARTIAL, **dict.fromkeys(WHOLE, "t")}


def test_none_of_them_is_bold_and_all_are_marked_in_five_formats(records):
    content = json.loads(table(records, format="json"))
    numbers = {
        row["method"]: {key: cell for key, cell in row["cells"].items() if cell["text"]} for row in content["rows"]
    }
    assert {name: {cell["notes"] for cell in cells.values()} for name, cells in numbers.items()} == {
        name: {keys} for name, keys in EXPECTED.items()
    }
    assert {name for name, cells in numbers.items() for cell in cells.values() if cell["best"]} == set(WHOLE)
    assert {cell["best"] for name in WHOLE for cell in numbers[name].values()} == {True}
    counts = {name: len(cells) for name, cells in numbers.items()}
    assert counts == {**dict.fromkeys(CHANGES, 9), "one frame": 8}  # one frame has no clip
    assert set(content["notes"]) == set("csaet")
    check_text(table(records), numbers, "| {} ", "**", lambda keys: "".join(NOTES[k].symbol for k in keys))
    check_text(
        table(records, format="latex"),
        numbers,
        "& {} &",
        r"\textbf",
        lambda keys: f"$^{{{''.join(NOTES[k].latex for k in keys)}}}$",
    )
    check_text(
        table(records, format="html"),
        numbers,
        "<td>{}</td>",
        'class="best"',
        lambda keys: "".join(NOTES[k].symbol for k in keys),
    )
    for row in csv.DictReader(io.StringIO(table(records, format="csv"))):
        keys = EXPECTED[row["method"]]
        columns = " ".join(c for c in row if c in numbers[row["method"]])
        assert row["notes"] == ". ".join(f"{columns}: {NOTES[key].text}" for key in NOTES if key in keys)


def check_text(text, numbers, cell, bold, mark):
    lines = text.replace(r"\%", "%").splitlines()
    for name, cells in numbers.items():
        (line,) = (line for line in lines if cell.format(name) in line)
        assert (bold in line) == (name in WHOLE)
        assert all(f"{c['text']}{mark(EXPECTED[name])}" in line for c in cells.values() if name in PARTIAL)
    assert all(sum(NOTES[key].text in line for line in lines) >= 1 for key in "csa")


def test_the_reference_set_is_the_same_whatever_the_predictions_have(method):
    options = {"metrics": ["fid", "fvd"], "track": "self"}
    whole = scored(method, WHOLE[0], **options).groups[0]
    floors = {name: a.bias_floor for name, a in whole.aggregates.items() if a.bias_floor is not None}
    assert set(floors) == {"fid", "fvd"}
    half = scored(method, "half", **options).groups[0]
    assert {name: half.aggregates[name].bias_floor for name in floors} == floors
    assert (half.aggregates["fid"].num_samples, whole.aggregates["fid"].num_samples) == (NUM_FRAMES, 2 * NUM_FRAMES)
    method.path(OTHER).unlink()
    missing = method.score(networks=NETWORKS, split="single", **options).groups[0]
    assert missing.errors == {"missing_file": 1}
    assert {name: missing.aggregates[name].bias_floor for name in floors} == floors
    assert missing.aggregates["fid"].value > 0.01  # the other person's frames are missing
    assert missing.aggregates["fid"].num_videos == 1


def test_a_reference_without_features_leaves_the_distance_out(method, monkeypatch):
    method.path(OTHER).unlink()
    monkeypatch.setattr(run_module, "_complete_references", lambda *_: None)
    group = method.score(networks=NETWORKS, split="single", track="self", metrics=["fid", "psnr"]).groups[0]
    assert group.unscored["fid"].startswith("features_missing: ")
    assert group.aggregates["psnr"].value == 100


def test_a_face_that_the_reference_does_not_show(method):
    tracks = method.tracks(SELF)
    method.give(SELF, replace(tracks, tracks=(*tracks.tracks, person(NUM_FRAMES, x=3.0, seed=9))))
    record = method.score(split="single", track="self")
    assert record.groups[0].num_extra_faces == 1
    assert "\u25c7" in table([record])


def test_a_cross_prediction_has_the_shape_of_its_source(method):
    case = case_of(method.score(metrics=["aed"]), "single-cross-0001")
    asset = method.bench.assets[next(c.source for c in method.bench.cases if c.case_id == case.case_id)]
    assert case.size_reference == (asset.width, asset.height)
