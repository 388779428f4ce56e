"""Predictions are found by case id, with suffixes in upper and lower case."""

from types import SimpleNamespace

import pytest

from exprbench.core.errors import ItemError
from exprbench.scoring.prediction_files import find_prediction

CASE = SimpleNamespace(case_id="single-self-0001")


@pytest.mark.parametrize("suffix", [".mp4", ".MP4", ".MkV", ".gif"])
def test_a_prediction_is_found_whatever_the_case_of_its_suffix(tmp_path, suffix):
    path = tmp_path / f"single-self-0001{suffix}"
    path.touch()
    (tmp_path / "single-self-00011.mp4").touch()
    (tmp_path / "single-self-0001.tracks.npz").touch()
    assert find_prediction(tmp_path, CASE) == path


def test_a_folder_of_frames_is_a_prediction(tmp_path):
    (tmp_path / "single-self-0001").mkdir()
    assert find_prediction(tmp_path, CASE) == tmp_path / "single-self-0001"


def test_two_predictions_are_ambiguous(tmp_path):
    (tmp_path / "single-self-0001.mp4").touch()
    (tmp_path / "single-self-0001.MOV").touch()
    with pytest.raises(ItemError, match=r"ambiguous_prediction: .*0001\.MOV and single-self-0001\.mp4; keep one"):
        find_prediction(tmp_path, CASE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("single-self-0001.png", r"; single-self-0001\.png is not a video"),
        ("other.mp4", "nor a folder single-self-0001$"),
    ],
)
def test_what_is_missing_is_named(tmp_path, name, message):
    (tmp_path / name).touch()
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ItemError, match=message if folder == tmp_path else "missing_file"):
            find_prediction(folder, CASE)
