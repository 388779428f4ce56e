"""What a user tries first in Python works."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import exprbench
from exprbench.records import load_record
from exprbench.scoring.plan import choose_columns

RECORD = Path(__file__).parents[1] / "results" / "records" / "demo-jittery.json"


def test_a_single_record_or_path_is_a_table_and_a_frame():
    record = load_record(RECORD)
    assert exprbench.table(str(RECORD)) == exprbench.table(RECORD) == exprbench.table(record)
    assert exprbench.table(record) == exprbench.table([record])
    assert exprbench.frame(record).equals(exprbench.frame([RECORD]))


def test_metric_names_in_any_case_and_as_one_text():
    columns = choose_columns(["psnr", "lmd"], "mediapipe")
    for names in ("PSNR,lmd", "psnr, LMD", ["Psnr", "LMD"], "psnr[rgb,frame-mean,cap100],lmd"):
        assert choose_columns(names, "mediapipe") == columns
    assert choose_columns("psnr", "mediapipe") == choose_columns(["psnr"], "mediapipe")


def test_records_are_shown_briefly():
    record = load_record(RECORD)
    text = repr(record)
    assert text.startswith("<ScoreRecord 'jittery' on demo, 11 of 11 cases scored; single self: aed 0.02")
    assert len(text) < 800
    page = replace(record, method="<script>")._repr_html_()
    assert "&lt;script&gt; on demo" in page
    assert page.count("<tr>") == 1 + len(record.groups)


def test_python_m_exprbench_is_the_command():
    done = subprocess.run([sys.executable, "-m", "exprbench", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == exprbench.__version__
