"""LaTeX that is ready for a paper."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from exprbench import table
from tests.leaderboard.test_table import NASTY, UNSEEN, A, B, group, record

RECORDS = Path(__file__).parents[2] / "results" / "records"
C = record("Gamma", group(psnr=29.0, lmd=0.006, mae=8.0), group(track="cross", aed=0.4, apd=0.03, mae=20.0))


def test_units_rules_and_groups_are_in_the_header():
    lines = table([A, B], format="latex").splitlines()
    assert lines[0] == r"\begin{table*}[t]"
    assert r"\cmidrule(lr){3-8} \cmidrule(lr){9-11}" in lines
    assert r" & &  &  & (dB) &  & ($10^{-3}$) & (deg.) & ($10^{-2}$) & ($10^{-3}$) & (deg.) \\" in lines


def test_the_second_best_is_underlined_among_three():
    text = table([A, B, C], format="latex")
    assert r"\textbf{31.00}" in text
    assert r"\underline{30.00}" in text
    assert r"\underline{second best}" in text
    assert r"\underline" not in table([A, B], format="latex")


def test_intervals_on_request():
    assert r"30.00\,$_{27.00}^{33.00}$" in table([A, B], format="latex", intervals=True)
    assert "30.00 [27.00, 33.00]" in table([A, B], intervals=True)
    assert "[27.00" not in table([A, B], format="latex")


def test_the_borda_rank_counts_ties_as_half():
    text = table([A, B, C], rank=True)
    scores = {line.split("|")[2].strip(): line.split("|")[-3:-1] for line in text.splitlines() if "Single" in line}
    assert {m: [c.strip() for c in cells] for m, cells in scores.items()} == {
        "Alpha": ["0.83", "1"],
        "Beta": ["0.67", "2"],
        "Gamma": ["0.00", "3"],
    }


def test_numbers_with_the_mark_of_a_tie_count_for_the_rank():
    perfect, swapped = RECORDS / "demo-perfect.json", RECORDS / "demo-people-swapped.json"  # equal with one person
    rows = [line.split("|") for line in table([perfect, swapped], rank=True).splitlines()]
    assert [[c.strip() for c in r[-3:-1]] for r in rows if r[1:2] == [" Single  "]] == [["0.50", "1"], ["0.50", "1"]]


def test_columns_that_do_not_fit_are_in_another_tabular():
    text = table([A, B], format="latex", intervals=True, rank=True)
    assert re.findall(r"\\begin{tabular}{(\w+)}", text) == ["llrrrrrr", "llrrrrr"]
    assert re.findall(r"\\begin{tabular}{(\w+)}", table([A, B], format="latex", rank=True)) == ["llrrrrrrrrrrr"]
    assert text.count("Borda") == 1


def test_a_long_name_is_wrapped():
    assert r" & \parbox[t]{36mm}{\raggedright Alpha\_x 1234567890123456789\strut} & " in table(
        replace(A, method="Alpha_x 1234567890123456789"), format="latex"
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_it_compiles_and_fits_the_page(tmp_path):
    marked = record(NASTY.replace("\u202e", ""), *(replace(g, coverage=0.5) for g in UNSEEN))
    tables = [
        table([A, B, C, marked], format="latex", rank=True, reported="paper"),
        table([A, B, C], format="latex", intervals=True),
        table(sorted(RECORDS.glob("*.json")), format="latex"),
        table(sorted(RECORDS.glob("*.json")), format="latex", intervals=True, rank=True),
    ]
    width = r"\usepackage[textwidth=6.875in]{geometry}"  # of the template of CVPR
    head = rf"\documentclass[twocolumn]{{article}}\usepackage{{booktabs}}{width}\begin{{document}}"
    (tmp_path / "page.tex").write_text("\n".join([head, *tables, r"\end{document}"]), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert not re.search(r"Overfull .hbox", done.stdout)
