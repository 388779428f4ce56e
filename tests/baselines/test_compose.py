"""Several people by a single-face method: every face shows its own driver, the rest of the picture the source."""

import itertools
import sys

import cv2
import numpy as np
import pytest

import exprbench
from baselines.geometry import Rect
from baselines.run_record import load_run
from exprbench import build
from exprbench.media import open_clip, read_image, write_image, write_video
from tests.baselines.bench import frames_of, repository, run_double

pytestmark = pytest.mark.slow
PORTRAITS = ("portraits/s1.jpg", "portraits/man.jpeg", "portraits/s10.jpg")  # faces of about the same size
DRIVERS = ("driving/trump.mp4", "driving/biden.mp4", "driving/d11.mp4")
SIDE = 400


@pytest.fixture
def bench(shared, needs_weights, tmp_path, request):
    """A benchmark with a portrait of several people in a row, and as many drivers of one person each."""
    needs_weights("face_landmarker")
    num_people = request.param
    folders = {name: tmp_path / name for name in ("portraits", "driving", "multi_portraits", "multi_driving")}
    for folder in folders.values():
        folder.mkdir()
    row = [cv2.resize(read_image(shared(name)), (SIDE, SIDE)) for name in PORTRAITS[:num_people]]
    write_image(folders["multi_portraits"] / "row.png", np.hstack(row))
    write_image(folders["portraits"] / "one.png", row[0])
    for i, name in enumerate(DRIVERS[:num_people]):
        cut(shared(name), folders["multi_driving"] / f"d{i}.mp4")
    cut(shared("driving/d20.mp4"), folders["driving"] / "other.mp4")
    return build(**folders, out=tmp_path / "bench", clip_seconds=1, workers=0)


def cut(source, path):
    with open_clip(source, fps=25, max_frames=25) as clip:
        write_video(path, clip, fps=25)


def face_picture(frame, box):
    return cv2.resize(box.crop(frame), (64, 64), interpolation=cv2.INTER_AREA).astype(float)


@pytest.mark.parametrize("bench", [2, 3], indirect=True)
def test_each_face_follows_its_own_driver(bench, tmp_path):
    repo, out = repository("liveportrait", tmp_path / "repo"), tmp_path / "out"
    result = run_double("liveportrait", repo, bench, out, python=sys.executable, split="multi", track="cross")
    assert result.failed == {}
    (case,) = bench.select("multi", "cross")
    record = load_run(out, case.case_id)
    made, source = frames_of(out / f"{case.case_id}.mp4"), read_image(bench.path(case.source))
    assert record.normalization["composed"]
    assert len(record.attempts) == len(case.face_map) == len(case.drivers)
    boxes = [Rect(**part["target"]) for part in record.normalization["parts"]]
    assert all(a.x + a.width <= b.x for a, b in itertools.pairwise(boxes))
    drivers = [frames_of(bench.path(case.drivers[driver])) for driver, _ in case.face_map]
    whole = Rect(x=0, y=0, width=10_000, height=10_000)
    for i in (0, len(made) // 2, len(made) - 1):
        shown = [face_picture(made[i], box) for box in boxes]
        wanted = [face_picture(driver[i], whole) for driver in drivers]
        errors = np.array([[np.abs(a - b)[8:56, 8:56].mean() for b in wanted] for a in shown])
        assert (errors.argmin(1) == np.arange(len(boxes))).all()
        assert errors.diagonal().max() < 3
    scored = exprbench.score(
        benchmark=bench.root,
        predictions=out,
        method="composed",
        out=tmp_path / "record.json",
        metrics=["swap"],
        split="multi",
        track="cross",
        floors=False,
        workers=0,
    )
    assert scored.cases[0].values["swap"] < 0.05
    assert scored.runs[case.case_id].composed
    outside = np.ones(source.shape[:2], bool)
    for box in boxes:
        outside[box.y : box.y + box.height, box.x : box.x + box.width] = False
    assert np.abs(made[-1].astype(int) - source)[outside].mean() < 3  # H.264
