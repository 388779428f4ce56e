import os
import shutil
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from exprbench import UserError
from exprbench.weights import TRUST
from multiexpr.models import detector as networks
from multiexpr.models.detector import Models, find_people_model, load_people, restrict_ultralytics
from multiexpr.recipe import load_recipe
from multiexpr.scorers import make_scorers
from tests.multiexpr.collection import photograph

LISTENER = """
import sys
calls = []
WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")
sys.addaudithook(lambda event, args: calls.append((event, str(args)[:80])) if event in WATCHED else None)
import socket
def refuse(*args, **kwargs):
    raise OSError("no network here")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import numpy as np
from pathlib import Path
from multiexpr.models.detector import load_people
model, persons = load_people(Path(sys.argv[1]), image_size=640, device="cpu")
model.predict([np.zeros((64, 64, 3), np.uint8)], confidence=0.25, classes=persons, max_det=100)
from ultralytics import SETTINGS
from ultralytics.utils.checks import check_requirements
assert SETTINGS["sync"] is False
assert not check_requirements("a-package-that-is-nowhere>=9")
print(calls)
"""


@pytest.fixture(scope="module")
def yolo():
    try:
        return find_people_model("yolov8n")
    except UserError:
        pytest.skip("needs a YOLOv8n model in EXPRBENCH_WEIGHTS")


@pytest.fixture(scope="module")
def models(yolo):
    return Models(load_recipe())


@pytest.mark.weights
def test_people_in_photographs(models):
    pytest.importorskip("ultralytics")
    zidane, bus = photograph("zidane.jpg"), photograph("bus.jpg")
    (boxes,) = models.people([zidane])
    confident = boxes[boxes[:, 4] > 0.5]
    assert len(confident) == 2
    assert (np.diff(boxes[:, 4]) <= 0).all()
    assert ((boxes >= 0) & (boxes <= 1)).all()
    heights = confident[:, 3] - confident[:, 1]
    assert (heights > 0.6).all()
    assert len(models.people([bus])[0]) == 4


class Detector:
    """Finds the boxes (x0, y0, x1, y1, confidence) it was given in every picture; `asked` is what it was asked."""

    def __init__(self, *boxes):
        import torch

        self.boxes, self.asked = torch.tensor(boxes).view(-1, 5), []

    def predict(self, pictures, **options):
        self.asked.append((pictures, options))
        boxes = SimpleNamespace(xyxyn=self.boxes[:, :4], conf=self.boxes[:, 4])
        return [SimpleNamespace(boxes=boxes) for _ in pictures]


@pytest.fixture
def made_up(monkeypatch):
    """`made_up(box, ...)`: a detector of these boxes in place of the real one; its class 3 is people."""

    def make(*boxes):
        detector = Detector(*boxes)
        monkeypatch.setattr(
            networks,
            "load_people",
            lambda _path, image_size, device: (networks.UltralyticsDetector(detector, image_size, device), [3]),
        )
        return detector

    return make


def with_model(path, *settings):
    return load_recipe(None, [f"score.people.model={path}", *settings])


FRAME = np.dstack([np.full((4, 6), value, np.uint8) for value in (10, 20, 30)])


def test_the_detector_is_asked_as_the_recipe_says_with_blue_first(made_up):
    detector = made_up()
    recipe = with_model(__file__, "score.people.image_size=320", "score.people.confidence=0.3")
    assert [len(found) for found in Models(recipe).people([FRAME] * 3)] == [0, 0, 0]
    for (picture,), options in detector.asked:  # one at a time on a CPU
        assert picture[0, 0].tolist() == [30, 20, 10]
        assert options == {"imgsz": 320, "conf": 0.3, "classes": [3], "max_det": 100, "device": "cpu", "rect": True,
                           "verbose": False}  # fmt: skip
    detector.asked.clear()
    Models(recipe, "cuda:0").people([FRAME] * 3)
    assert [len(pictures) for pictures, _ in detector.asked] == [3]  # together on a GPU


def test_animals_are_found_by_their_classes(made_up):
    detector = made_up((0.1, 0.2, 0.3, 0.9, 0.75))
    detector.names = {3: "person", 4: "dog", 5: "chair", 6: "bear"}
    assert [len(found) for found in Models(with_model(__file__)).animals([FRAME] * 2)] == [1, 1]
    assert [options["classes"] for _, options in detector.asked] == [[4, 6]] * 2
    detector.names = {3: "person", 5: "chair"}
    assert [found.shape for found in Models(with_model(__file__)).animals([FRAME] * 2)] == [(0, 5)] * 2
    assert len(detector.asked) == 2


def test_a_batch_has_frames_of_one_shape(made_up, monkeypatch):
    """Check that frames of other shapes do not change how a frame is padded, and that every frame gets its boxes."""
    detector = made_up()
    monkeypatch.setattr(networks, "_boxes", lambda picture: np.full((1, 5), picture[0, 0, 0]))
    monkeypatch.setattr(detector, "predict", lambda pictures, **_: detector.asked.append(len(pictures)) or pictures)
    wide, tall = FRAME, np.full((6, 4, 3), 7, np.uint8)
    found = Models(with_model(__file__), "cuda:0").people([wide, tall, wide])
    assert detector.asked == [2, 1]
    assert [boxes[0, 0] for boxes in found] == [30, 7, 30]


def test_people_come_the_surest_first_and_from_the_left_where_they_are_equally_sure(made_up):
    left, right, sure = (0.1, 0.2, 0.3, 0.9, 0.5), (0.6, 0.2, 0.8, 0.9, 0.5), (0.3, 0.1, 0.5, 0.8, 0.75)
    made_up(right, sure, left)
    (found,) = Models(with_model(__file__)).people([FRAME])
    assert found.dtype == np.float64
    assert found == pytest.approx(np.array([sure, left, right]), abs=1e-6)


def test_the_scorer_writes_every_box_with_its_frame_and_confidence(made_up):
    made_up((0.1, 0.2, 0.3, 0.9, 0.75), (0.6, 0.2, 0.8, 0.9, 0.5))
    recipe = with_model(__file__)
    scorer = make_scorers(recipe, Models(recipe))[0]
    start = scorer.start({})
    for time_s in (0.5, 1.5):
        start.update(FRAME, time_s)
    assert start.compute() == {
        "people_counts": [2, 2],
        "people_frame": [0, 0, 1, 1],
        "people_box": [0.1, 0.2, 0.3, 0.9, 0.6, 0.2, 0.8, 0.9] * 2,
        "people_confidence": [0.75, 0.5] * 2,
        "people_height": [0.7] * 4,
        "people_by_face": [False] * 4,
    }


def test_the_scorer_asks_for_the_middles_of_equal_parts_at_the_networks_size():
    recipe = load_recipe(None, ["score.people.num_frames=4", "score.people.image_size=320"])
    wanted = make_scorers(recipe, Models(recipe))[0].frames({"length_s": 8.0})
    assert wanted.times_s == (1.0, 3.0, 5.0, 7.0)
    assert (wanted.long_side, wanted.short_side) == (320, 0)


def test_scores_depend_on_the_models_file_and_on_every_setting(tmp_path, trusted, model_files):
    def fingerprint(*settings):
        recipe = with_model(tmp_path / "m.pt", *settings)
        return make_scorers(recipe, Models(recipe))[0].fingerprint()

    (tmp_path / "m.pt").write_bytes(b"one")
    found = [fingerprint()]
    for setting in ("num_frames=6", "image_size=320", "confidence=0.3"):
        found.append(fingerprint(f"score.people.{setting}"))
    (tmp_path / "m.pt").write_bytes(b"two")
    found.append(fingerprint())
    assert all(a != b for i, a in enumerate(found) for b in found[:i])


def test_nothing_outside_is_asked_before_ultralytics_is_imported(monkeypatch, tmp_path):
    names = ("YOLO_OFFLINE", "YOLO_AUTOINSTALL", "ULTRALYTICS_SAFE_LOAD", "YOLO_VERBOSE", "YOLO_CONFIG_DIR")
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path))
    restrict_ultralytics()
    assert [os.environ[name] for name in names] == ["true", "false", "true", "false", str(tmp_path / "ultralytics")]
    assert (tmp_path / "ultralytics").is_dir()


@pytest.mark.weights
def test_a_batch_equals_its_single_frames(models):
    frames = [photograph("zidane.jpg"), np.zeros((360, 640, 3), np.uint8), photograph("bus.jpg")]
    batch = models.people(frames)
    for frame, boxes in zip(frames, batch, strict=True):
        assert np.array_equal(models.people([frame])[0], boxes)
    assert len(batch[1]) == 0


def test_ultralytics_does_not_use_the_network(checkpoint, trusted):
    """Run in a new process, because ultralytics disables its network access when it detects pytest."""
    run = subprocess.run([sys.executable, "-c", LISTENER, checkpoint], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def trusted(monkeypatch):
    monkeypatch.setenv(TRUST, "1")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Checkpoint (.pt) in the real layout with random weights."""
    pytest.importorskip("ultralytics")
    restrict_ultralytics()
    from ultralytics import YOLO

    path = tmp_path_factory.mktemp("models") / "random.pt"
    model = YOLO("yolov8n.yaml", task="detect")
    model.model.names = {i: "person" if i == 0 else f"thing {i}" for i in range(80)}
    model.save(str(path))
    return path


@pytest.mark.parametrize(
    "find", [lambda path: find_people_model(str(path)), partial(load_people, image_size=320, device="cpu")]
)
def test_a_checkpoint_of_unknown_hash_is_refused_until_it_is_trusted(checkpoint, monkeypatch, find):
    monkeypatch.delenv(TRUST, raising=False)
    with pytest.raises(
        UserError, match=r"random\.pt \(sha256 .* is not a published file.* add --trust, or set EXPR"
    ) as e:
        find(checkpoint)
    assert "\n" not in str(e.value)
    monkeypatch.setenv(TRUST, "1")
    find(checkpoint)


def test_a_file_under_the_name_of_a_published_one_is_refused(checkpoint, monkeypatch, tmp_path):
    shutil.copyfile(checkpoint, tmp_path / "yolov8n.pt")
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match=r"yolov8n\.pt .* is not a published file"):
        find_people_model("yolov8n")


EVIL = """
import os, sys, torch
from pathlib import Path
class Evil:
    def __reduce__(self):
        return os.mkdir, (sys.argv[1] + "/owned",)
torch.save({"model": Evil()}, sys.argv[1] + "/evil.pt")
FIRST
from multiexpr.models import detector
try:
    detector.load_people(Path(sys.argv[1]) / "evil.pt", image_size=64, device="cpu")
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("", "cannot be read"),
        ("import ultralytics.nn.tasks", "cannot be read"),
        ("from ultralytics import YOLO", "cannot be read"),
        (
            "import ultralytics.nn.tasks as t; t.torch_safe_load = lambda p: torch.load(p, weights_only=False)",
            "runs the code in a .pt file; install one with safe loading",
        ),
        ("import ultralytics.nn.tasks as t; t._SafeLoad.SUPPORTED = False", "runs the code in a .pt file; install one"),
    ],
)
def test_no_code_of_a_trusted_checkpoint_runs_whatever_imported_ultralytics_first(tmp_path, trusted, first, said):
    pytest.importorskip("ultralytics")
    program = EVIL.replace("FIRST", first)
    run = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("UserError"), run.stdout
    assert said in run.stdout
    assert not (tmp_path / "owned").exists()


def test_checkpoints_load_without_unpickling(checkpoint, trusted):
    cores = os.sched_getaffinity(0)
    model, persons = load_people(checkpoint, image_size=320, device="cpu")
    assert os.sched_getaffinity(0) == cores  # it is loaded on one core, and then used on all
    assert persons == [0]
    (boxes,) = model.predict([np.zeros((64, 64, 3), np.uint8)], confidence=0.9, classes=persons, max_det=100)
    assert boxes.shape == (0, 5)


def test_onnx_files_load(checkpoint, trusted):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from ultralytics import YOLO

    path = YOLO(str(checkpoint)).export(format="onnx", imgsz=320, simplify=False, verbose=False)
    model, persons = load_people(type(checkpoint)(path), image_size=320, device="cpu")
    assert persons == [0]
    (boxes,) = model.predict([np.zeros((64, 64, 3), np.uint8)], confidence=0.9, classes=persons, max_det=100)
    assert boxes.shape == (0, 5)


def test_files_that_are_not_models_are_errors(tmp_path, checkpoint, trusted):
    (tmp_path / "text.pt").write_text("not a model")
    (tmp_path / "video.mp4").write_text("")
    for name, message in [("text.pt", "cannot be read"), ("video.mp4", "is not a people model; expected a .pt")]:
        with pytest.raises(UserError, match=message):
            load_people(tmp_path / name, image_size=320, device="cpu")


def test_a_model_without_a_person_class_is_an_error(tmp_path, checkpoint, trusted):
    from ultralytics import YOLO

    model = YOLO(str(checkpoint))
    model.model.names = dict.fromkeys(range(80), "thing")
    model.save(str(tmp_path / "things.pt"))
    with pytest.raises(UserError, match="has no class 'person', only thing"):
        load_people(tmp_path / "things.pt", image_size=320, device="cpu")


def test_the_error_for_a_missing_model_says_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="exprbench weights fetch yolov8n"):
        find_people_model("yolov8n")
    with pytest.raises(UserError, match="give its path with --people-model"):
        find_people_model("nothing")
    (tmp_path / "mine_openvino_model").mkdir()
    assert find_people_model("mine").name == "mine_openvino_model"
    assert find_people_model(str(tmp_path / "mine_openvino_model")) == tmp_path / "mine_openvino_model"
