"""The choice between MediaPipe, OpenVINO and PyTorch, and its trace in keys and names."""

import os

import pytest

from exprbench import face_engine as engine
from exprbench.core.errors import UserError
from exprbench.face_engine import VARIABLE, choose_engine, using_engine
from exprbench.faces.video_tracks import tracks_key, tracks_made_by


@pytest.fixture
def installed(monkeypatch):
    """Whether OpenVINO seems to be installed."""
    monkeypatch.delenv(VARIABLE, raising=False)

    def set_installed(value):
        monkeypatch.setattr(engine, "find_spec", lambda name: object() if value else None)

    set_installed(True)
    return set_installed


def test_mediapipe_is_the_default(installed):
    assert choose_engine() == "mediapipe"
    assert choose_engine("openvino") == "openvino"
    assert choose_engine("auto") == "openvino"
    assert choose_engine("torch") == "torch"


def test_without_openvino_auto_is_mediapipe_and_openvino_is_an_error(installed):
    installed(False)
    assert choose_engine("auto") == "mediapipe"
    with pytest.raises(UserError, match=r"pip install 'exprbench\[openvino\]'"):
        choose_engine("openvino")


def test_a_wrong_name_is_an_error_with_the_nearest_one(installed):
    with pytest.raises(UserError, match="openvino"):
        choose_engine("openvno")


def test_the_variable_chooses_unless_a_name_is_given(installed, monkeypatch):
    monkeypatch.setenv(VARIABLE, "openvino")
    assert choose_engine() == "openvino"
    assert choose_engine("mediapipe") == "mediapipe"
    with using_engine("mediapipe"):
        assert choose_engine() == "mediapipe"
    assert os.environ[VARIABLE] == "openvino"
    with using_engine(""):
        assert choose_engine() == "openvino"
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ZeroDivisionError), using_engine("openvino"):
        raise ZeroDivisionError
    assert VARIABLE not in os.environ


def test_tracks_of_different_engines_have_different_keys_and_names(installed):
    pytest.importorskip("openvino")
    pytest.importorskip("mediapipe")
    names = [tracks_made_by(name) for name in engine.ENGINES]
    assert [name.split()[0] for name in names] == ["mediapipe", "openvino", "torch"]
    keys = []
    for name in engine.ENGINES:
        with using_engine(name):
            keys.append(tracks_key("0" * 64, 25, None))
    assert [key["made_by"] for key in keys] == names
