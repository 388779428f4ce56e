"""Damages of known size, the page of their measurements, and a small run."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmarks import damage, damage_videos
from benchmarks.damage_page import END, START, plot, write_page
from benchmarks.damage_videos import DAMAGES, late, noisy, shuffled, smaller

RNG = np.random.default_rng(0)
FRAMES = [np.full((96, 160, 3), 20 * t, np.uint8) for t in range(10)]


def test_damages_are_of_the_size_that_they_say():
    grey = [np.full((96, 160, 3), 128, np.uint8)]
    assert noisy(grey, 8)[0].std() == pytest.approx(8, rel=0.02)
    assert smaller(grey, 1.5)[0].shape == (64, 106, 3)
    assert DAMAGES["brighter"].apply(grey, 40)[0].max() == 168
    assert [int(frame[0, 0, 0]) // 20 for frame in late(FRAMES, 3)] == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]
    moves = [abs(int(frame[0, 0, 0]) // 20 - t) for t, frame in enumerate(shuffled(FRAMES, 2))]
    assert max(moves) == 2
    texture = [RNG.integers(0, 256, (96, 160, 3), np.uint8)]
    spread = [DAMAGES["blur"].apply(texture, x)[0].std() for x in DAMAGES["blur"].strengths]
    assert spread == sorted(spread, reverse=True)
    assert all(list(d.strengths) == sorted(d.strengths) and len(d.strengths) == 5 for d in DAMAGES.values())


def measured():
    """Measurements of two columns and one damage."""
    values = {"psnr": [40.0, 35.0, 30.0, 25.0, None], "aed": [0.01, 0.02, 0.03, 0.04, 0.05]}
    of_damage = {"unit": "frames", "strengths": [1, 2, 3, 4, 5], "values": values}
    damages = {"delay": of_damage, "gaze": of_damage}
    kind = {"floors": {"aed": 0.008}, "copy": {"psnr": 45.0, "aed": 0.005}, "damages": damages, "num_videos": 2}
    person = dict.fromkeys(damage_columns(), 0.01)
    true = {"gaze": {"aed": [0.01, 0.02, 0.03, 0.04, 0.05]}}
    recovery = {"Ida": person, "Kofi": person}
    return {"num_frames": 25, "not_measured": ["lpips"], "drawn": kind, "recovery": recovery, "true": true}


def damage_columns():
    from benchmarks.damage_truth import COLUMNS

    return COLUMNS


def test_the_page_keeps_the_rest_and_shows_scaled_numbers(tmp_path):
    page = tmp_path / "metrics.md"
    page.write_text(f"before\n\n{START}\n\nold\n\n{END}\n\nafter\n")
    for _ in range(2):
        write_page(page, measured())
    text = page.read_text()
    assert text.startswith(f"before\n\n{START}\n\nMeasured on 2 drawn videos of 25 frames")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "old" not in text
    assert "| `aed` | 1e-2 | 0.8 | 0.5 |" in text
    assert "| `psnr` | dB |  | 45 |" in text
    assert "| `lmd` | 1e-3 | 10 | 10 | 10 |" in text
    assert "| gaze | `aed` | 1e-2 | 1, 1 | 2, 2 | 3, 3 | 4, 4 | 5, 5 |" in text


def test_the_plot_is_a_small_picture(tmp_path):
    path = tmp_path / "damage.png"
    plot(measured()["drawn"], path)
    with Image.open(path) as image:
        assert image.width > 800
    assert path.stat().st_size < 300_000


@pytest.mark.slow
def test_a_small_run_measures_floors_responses_and_truth(tmp_path, monkeypatch, needs_weights):
    needs_weights("face_landmarker")
    chosen = {
        name: replace(DAMAGES[name], strengths=DAMAGES[name].strengths[-1:]) for name in ("delay", "gaze", "head")
    }
    monkeypatch.setattr(damage_videos, "DAMAGES", chosen)
    monkeypatch.setattr(damage, "DAMAGES", chosen)
    monkeypatch.setattr("benchmarks.damage_truth.DAMAGES", {**DAMAGES, **chosen})
    monkeypatch.setattr("benchmarks.damage_truth.CAST", damage_videos.CAST[:1])
    monkeypatch.setattr(damage_videos, "DRAWN", {"rosa": damage_videos.DRAWN["rosa"]})
    monkeypatch.setattr(damage, "ON_REQUEST", ())
    monkeypatch.setattr(damage_videos, "HEIGHT", 256)
    result = json.loads(json.dumps(damage.run(tmp_path, ["drawn"], 25, None, None, 0, 0)))
    drawn = result["drawn"]
    assert drawn["copy"]["lmd"] < 3 * drawn["floors"]["lmd"]
    assert result["true"]["gaze"]["mae"] == pytest.approx([20], abs=1e-3)
    assert 10 < drawn["damages"]["gaze"]["values"]["mae"][0] < 30
    assert result["true"]["head"]["apd_deg"] == pytest.approx([16], abs=1e-3)
    assert 8 < drawn["damages"]["head"]["values"]["apd_deg"][0] < 32
    assert drawn["damages"]["delay"]["values"]["lag"] == [8]
    assert drawn["damages"]["delay"]["values"]["aed_at_lag"][0] < drawn["damages"]["delay"]["values"]["aed"][0]
    assert result["recovery"]["Ida"]["follow_pose"] > 0.5
    assert "csim" in result["not_measured"]
