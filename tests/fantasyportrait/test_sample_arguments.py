"""What `sample` passes on to the pipeline, which is a stub here."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from exprbench.core.errors import UserError
from fantasyportrait import inputs as inputs_module
from fantasyportrait import pipeline as pipeline_module
from fantasyportrait import sampling
from fantasyportrait.runtime.parallel import Ranks
from fantasyportrait.settings import PRESETS, RuntimeConfig, SamplingConfig


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """`sample(...)`: what `generate_video` and `prepare_inputs` are called with."""
    found = {}
    opened = SimpleNamespace(
        check=lambda settings: None, ranks=Ranks(), landmark_detector="a detector",
        generate_video=lambda *args, **options: found.update(generate=(args, options)),
    )  # fmt: skip
    monkeypatch.setattr(
        pipeline_module, "load_pipeline", lambda *args, **options: found.update(load=(args, options)) or opened
    )
    monkeypatch.setattr(
        inputs_module, "prepare_inputs", lambda *args, **options: found.update(prepare=(args, options)) or "inputs"
    )
    monkeypatch.setattr("fantasyportrait.expression.onnx_faces.OnnxLandmarkDetector", lambda *paths: paths)
    monkeypatch.setattr(sampling, "check_model", lambda model, loras, face_models: None)  # tested in test_checks.py
    for name in ("p.png", "d.mp4"):
        (tmp_path / name).touch()

    def run(**options):
        given = {"model": "m", "portrait": tmp_path / "p.png", "drivers": [str(tmp_path / "d.mp4")]}
        assert sampling.sample(**{**given, "out": tmp_path / "new/o.mp4", **options}) == tmp_path / "new/o.mp4"
        return found

    return run


def test_a_plain_sample_leaves_everything_to_its_defaults(sample, tmp_path):
    found = sample()
    assert found["load"] == (("m", RuntimeConfig()), {"loras": (), "landmark_detector": None})
    assert found["prepare"] == (
        (tmp_path / "p.png", [tmp_path / "d.mp4"], SamplingConfig()),
        {"assignment": None, "landmark_detector": "a detector", "masks": []},
    )
    assert found["generate"] == (
        ("inputs", SamplingConfig(), tmp_path / "new/o.mp4"),
        {"audio": False, "watermark": False, "preview": None, "details": {}},
    )


def test_what_is_asked_of_a_sample_is_handed_on(sample, tmp_path):
    found = sample(
        assign="0.0,-", preset="released", runtime={"vram": 9.0}, loras=["a:1"], face_models=("d", "l"), audio=True,
        mark=True, preview=str(tmp_path / "x"), steps=4,
    )  # fmt: skip
    settings = SamplingConfig(steps=4, **PRESETS["released"])
    assert found["load"] == (
        ("m", RuntimeConfig(vram=9.0)),
        {"loras": ["a:1"], "landmark_detector": (Path("d"), Path("l"))},
    )
    assert found["prepare"][0][2] == settings
    assert found["prepare"][1]["assignment"] == ((0, 0), None)
    assert found["generate"][1] == {"audio": True, "watermark": True, "preview": Path(tmp_path / "x"), "details": {}}
    assert sample(assign=((0, 1),))["prepare"][1]["assignment"] == ((0, 1),)


def test_a_folder_that_cannot_be_written_to_is_an_error_before_any_work(sample, tmp_path):
    (tmp_path / "new").touch()
    with pytest.raises(UserError, match="cannot be written to"):
        sample()
