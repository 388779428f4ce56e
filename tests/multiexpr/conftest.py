import pytest

from exprbench import weights
from multiexpr.recipe import load_recipe
from multiexpr.storage.columns import from_row
from multiexpr.storage.workspace import Workspace
from tests.multiexpr.collection import encode
from tests.videos import numbered


@pytest.fixture
def recipe():
    return load_recipe()


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "out")


@pytest.fixture
def model_files(tmp_path, monkeypatch):
    """Folder of model files that are made up, instead of those of the machine, which may have none."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("yolov8n.onnx", *(model.filename for model in weights.ALL.values())):
        (folder / name).write_text(name)
    (folder / "yolov8n.pt").unlink()  # only published files of this kind are loaded
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(folder))
    monkeypatch.setattr(weights, "require", weights.locate)
    return folder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Folder with four small videos of drawn patterns, all different and without people."""
    folder = tmp_path_factory.mktemp("drawn")
    for name in "abcd":
        start = ord(name)
        encode(folder / f"{name}.mp4", [numbered(start + i) for i in range(50)])
    return folder


@pytest.fixture
def scores():
    """Function that returns the columns of a clip that passes every rule, with changes: `scores(luma=0.01)`."""
    good = {
        "width": 1280, "height": 720, "fps": 25.0, "num_frames": 125, "length_s": 5.0,
        "people_counts": [2, 2, 2], "people_frame": [0, 0, 1, 1, 2, 2],
        "people_height": [0.8] * 6, "people_confidence": [0.9] * 6,
        "noise": 1.0, "grain": 0.0, "blockiness": 0.1, "posterisation": 0.4, "combing": 0.0, "halos": 0.0,
        "enlargement": 1.0, "source_px": 720.0,
         "effective_px": 300.0, "luma": 0.4, "contrast": 0.8, "photomotion": 7.0,
         "cut": 0.0, "jump": 0.0, "gradual": 0.0,
        "face_seen": [1.0, 0.9], "face_px": [200.0, 150.0], "face_effective_px": [100.0, 80.0],
        "face_clipped": [0.0, 0.1], "face_crushed": [0.0, 0.1], "face_luma": [0.4, 0.3], "face_speaking": [None, None],
        "text": 0.0, "watermark": 0.0, "inset": 0.0, "nsfw": 0.0,
        "face_head_deg": [5.0, 4.0], "face_mouth": [4.0, 3.0], "face_eyes": [1.0, 1.0], "face_brows": [1.0, 2.0],
        "face_expression": [2.5, 2.2], "face_gaze_deg": [5.0, 6.0],
    }  # fmt: skip
    return lambda **changes: from_row({**good, **changes})
