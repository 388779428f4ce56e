"""Figures: which there are, that they are reproducible, and what the bars and points show."""

import pytest

from exprbench import load_record
from exprbench.core.errors import UserError
from exprbench.leaderboard.rows import make_table
from exprbench.report import figures

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def inputs(scored):
    records = [load_record(path) for path in scored.records]
    return records, make_table(records)


@pytest.fixture(scope="module")
def written(inputs, tmp_path_factory):
    """The folder of the figures, and their names."""
    folder = tmp_path_factory.mktemp("figures")
    return folder, figures.write_figures(folder, *inputs)


def test_every_split_has_its_figures(written):
    folder, names = written
    assert sorted(names) == sorted(path.name for path in folder.iterdir())
    kinds = [f"{kind}_{split}" for kind in ("bars", "cases", "radar") for split in ("single", "multi")]
    assert sorted(names) == sorted(f"{kind}.{suffix}" for kind in kinds for suffix in ("pdf", "png"))
    assert (folder / "bars_single.pdf").read_bytes().startswith(b"%PDF")


def test_equal_records_give_equal_files(written, inputs, tmp_path):
    folder, names = written
    assert figures.write_figures(tmp_path, *inputs) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_bars_have_the_height_of_the_printed_numbers(inputs, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.update({path.name: figure}) or [])
    figures.write_figures(tmp_path, *inputs)
    table = inputs[1]
    columns = [c for c in table.columns if any(r.cells[c.key].aggregate for r in table.rows)]
    rows = [row for row in table.rows if row.dataset == "Multi"]
    shown = [axis for axis in drawn["bars_multi"].axes if axis.get_visible()]
    for axis, column in zip(shown, columns, strict=True):
        heights = [f"{bar.get_height():.{column.metric.decimals}f}" for bar in axis.patches]
        assert heights == [row.cells[column.key].text for row in rows if row.cells[column.key].text]


def test_without_matplotlib_the_error_names_the_extra(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install exprbench\[figures\]"):
        figures.write_figures(tmp_path, *inputs)
