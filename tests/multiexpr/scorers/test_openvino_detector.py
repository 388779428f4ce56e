"""The people detector in OpenVINO, beside the same network in PyTorch, and ultralytics' own predictor."""

import numpy as np
import pytest

from exprbench import UserError
from multiexpr.models.detector import find_people_model, restrict_ultralytics
from multiexpr.models.openvino_detector import OpenVinoDetector, decode
from tests.multiexpr.collection import photograph

pytest.importorskip("openvino")

PEOPLE = {"confidence": 0.25, "classes": [0], "max_det": 100}
SIDE = 320


@pytest.fixture(scope="module")
def yolo():
    try:
        path = find_people_model("yolov8n")
    except UserError:
        path = None
    if path is None or not path.is_dir():
        pytest.skip("needs an OpenVINO export of YOLOv8n in EXPRBENCH_WEIGHTS")
    return path


def output_of(*cells):
    """Return the output of a network with 3 classes: a column per cell of its centre, size and confidences."""
    return np.array(cells, np.float32).T


def test_boxes_are_those_of_the_most_likely_class_if_it_is_searched():
    output = output_of(
        (50, 40, 20, 10, 0.1, 0.6, 0.0),
        (50, 40, 20, 10, 0.5, 0.6, 0.0),  # the same place, also class 1
        (90, 40, 20, 10, 0.7, 0.3, 0.0),  # class 0 is more likely
        (10, 40, 20, 10, 0.0, 0.2, 0.0),  # not confident
        (10, 90, 4, 6, 0.0, 0.1, 0.9),
    )
    assert decode(output, 0.25, [1]) == pytest.approx(np.array([[40, 35, 60, 45, 0.6]]))
    assert decode(output, 0.25, [1, 2]) == pytest.approx(np.array([[8, 87, 12, 93, 0.9], [40, 35, 60, 45, 0.6]]))
    assert decode(output, 0.95, [0, 1, 2]).shape == (0, 5)


def test_a_box_that_overlaps_with_a_more_confident_one_is_left_out():
    overlap = [(50, 50, 20, 20, 0.5, 0, 0), (52, 50, 20, 20, 0.8, 0, 0), (60, 50, 20, 20, 0.6, 0, 0)]
    assert decode(output_of(*overlap), 0.25, [0])[:, 4] == pytest.approx([0.8, 0.6])
    other_class = [(50, 50, 20, 20, 0.5, 0, 0), (52, 50, 20, 20, 0, 0.8, 0)]
    assert decode(output_of(*other_class), 0.25, [0, 1])[:, 4] == pytest.approx([0.8, 0.5])


def test_the_output_of_a_network_that_suppresses_boxes_itself():
    rows = np.array(
        [[1, 2, 3, 4, 0.3, 0], [5, 6, 7, 8, 0.9, 0], [0, 0, 1, 1, 0.8, 2], [0, 0, 1, 1, 0.1, 0]], np.float32
    )
    assert decode(rows, 0.25, [0]) == pytest.approx(np.array([[5, 6, 7, 8, 0.9], [1, 2, 3, 4, 0.3]]))


@pytest.mark.weights
@pytest.mark.parametrize("name", ["zidane.jpg", "bus.jpg"])
def test_people_in_a_square_are_those_of_ultralytics(yolo, name):
    """Check the preparation of pictures and boxes; ultralytics pads to squares, where both have the same input."""
    pytest.importorskip("ultralytics")
    restrict_ultralytics()
    from ultralytics import YOLO

    picture = photograph(name)
    side = min(picture.shape[:2])
    picture = picture[:side, :side]
    options = {"imgsz": 640, "conf": 0.25, "classes": [0], "max_det": 100, "verbose": False}
    (expected,) = YOLO(str(yolo), task="detect").predict(np.ascontiguousarray(picture[..., ::-1]), **options)
    (found,) = OpenVinoDetector(yolo, 640).predict([picture], **PEOPLE)
    assert len(found) == len(expected.boxes) > 0
    # ultralytics rounds to bfloat16 on processors with it
    assert found[:, :4] == pytest.approx(expected.boxes.xyxyn.numpy(), abs=0.02)
    assert found[:, 4] == pytest.approx(expected.boxes.conf.numpy(), abs=0.05)


@pytest.mark.weights
def test_padding_changes_boxes_little(yolo):
    """Check a photograph of 16:9, of which only the smallest shape differs from the square."""
    small, square = OpenVinoDetector(yolo, 640), OpenVinoDetector(yolo, 640)
    square._is_fixed = True
    picture = photograph("zidane.jpg")
    (found,), (expected,) = (model.predict([picture], **{**PEOPLE, "confidence": 0.5}) for model in (small, square))
    assert found[np.argsort(found[:, 0])] == pytest.approx(expected[np.argsort(expected[:, 0])], abs=0.05)
    assert square._network(640, 640)(np.zeros((640, 640, 3), np.uint8)).shape == (84, 8400)
    assert small._network(384, 640)(np.zeros((384, 640, 3), np.uint8)).shape == (84, 5040)


@pytest.mark.weights
def test_a_frame_has_the_same_boxes_alone_and_among_others(yolo):
    frames = [photograph("zidane.jpg"), photograph("bus.jpg"), np.zeros((360, 640, 3), np.uint8)]
    detector = OpenVinoDetector(yolo, 640)
    together = detector.predict([*frames, *frames[::-1]], **PEOPLE)
    alone = [OpenVinoDetector(yolo, 640).predict([frame], **PEOPLE)[0] for frame in frames]
    for boxes, expected in zip(together, [*alone, *alone[::-1]], strict=True):
        assert np.array_equal(boxes, expected)


@pytest.mark.weights
def test_it_runs_in_one_thread_without_pinning(yolo, monkeypatch):
    """Check the thread settings: pinned to one core, which is the same in every process, workers would wait."""
    import openvino

    compiled, compile_model = [], openvino.Core.compile_model
    monkeypatch.setattr(
        openvino.Core, "compile_model", lambda *arguments: compiled.append(compile_model(*arguments)) or compiled[-1]
    )
    OpenVinoDetector(yolo, 640).predict([np.zeros((64, 64, 3), np.uint8)], **PEOPLE)
    assert compiled[0].get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled[0].get_property("ENABLE_CPU_PINNING") is False


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
def test_exports_run_at_other_shapes_as_in_pytorch(tmp_path, monkeypatch, dynamic):
    pytest.importorskip("ultralytics")
    restrict_ultralytics()
    import torch
    from ultralytics import YOLO

    monkeypatch.chdir(tmp_path)
    model = YOLO("yolov8n.yaml", task="detect")
    model.save("random.pt")
    folder = tmp_path / YOLO("random.pt").export(format="openvino", imgsz=SIDE, dynamic=dynamic, verbose=False)
    detector = OpenVinoDetector(folder, SIDE)
    for shape in ((128, SIDE), (SIDE, 256), (SIDE, SIDE)):
        picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        with torch.no_grad():
            expected = model.model.eval()(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)[0][0]
        assert detector.predict([picture], **PEOPLE)[0].shape == (0, 5)  # at a long side that is no multiple of STEP
        # boxes are in pixels; OpenVINO adds in another order
        assert detector._network(*shape)(picture) == pytest.approx(expected.numpy(), abs=1e-3)


@pytest.mark.slow
def test_an_export_for_one_shape_is_used_at_that_shape(tmp_path, monkeypatch):
    pytest.importorskip("ultralytics")
    restrict_ultralytics()
    from ultralytics import YOLO

    monkeypatch.chdir(tmp_path)
    YOLO("yolov8n.yaml", task="detect").save("random.pt")
    folder = tmp_path / YOLO("random.pt").export(format="openvino", imgsz=(128, 256), verbose=False)
    detector = OpenVinoDetector(folder, 640)
    for shape in ((40, 90, 3), (90, 40, 3)):
        (boxes,) = detector.predict([np.zeros(shape, np.uint8)], **PEOPLE)
        assert boxes.shape == (0, 5)
    assert detector._is_fixed
