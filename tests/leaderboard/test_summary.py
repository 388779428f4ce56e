"""What `score` prints: the columns asked for, in lines of at most 100 characters."""

from exprbench.leaderboard.rendering import NOTHING
from exprbench.leaderboard.summary import WIDTH, summary
from exprbench.metrics import COLUMNS
from tests.leaderboard.test_table import A, group, record

WHY = "weights_missing: exprbench weights fetch inception, or put x from https://y (sha256 z) into /w"


def test_a_table_per_track_without_the_prefix_of_the_track():
    some = record("Some", group(psnr=30.0, mae=7.0, unscored={"fid": WHY}), group("multi", "cross", aed=0.5))
    lines = summary(some).splitlines()
    assert lines[0] == "Some, self reenactment"
    assert lines[1].split("  ")[-1].strip() == "MAE ↓ (degrees)"
    assert lines[2].split() == ["Single", NOTHING, NOTHING, "30.00", NOTHING, NOTHING, "7.00"]
    assert "Some, cross reenactment" in lines
    assert "No FID: run exprbench weights fetch inception." in lines


def test_only_the_columns_asked_for():
    text = summary(A, ["psnr", "lmd", "aed"])
    assert "MAE" not in text
    assert text.splitlines()[1].split() == ["PSNR", "↑", "(dB)", "LMD", "↓", "(1e-3)", "AED", "↓", "(1e-2)"]


def test_lines_fit_a_hundred_characters_whatever_is_asked():
    values = {name: 0.5 for name, metric in COLUMNS.items() if "self" in metric.defined_on}
    many = record("x" * 100, group(**values, detect_rate=0.5, coverage=0.5, unscored={"fid": WHY}))
    text = summary(many, list(COLUMNS))
    assert max(map(len, text.splitlines())) <= WIDTH
    for name in values:
        assert COLUMNS[name].title in text
