"""Filing, verifying and exporting records."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import exprbench
from exprbench import UserError, cli, submit, table, verify
from exprbench.leaderboard.exporters import to_eval_results, to_flat_csv
from exprbench.leaderboard.receipts import load_receipt, status_of
from exprbench.records import load_record, record_schema, save_record
from tests.scoring.conftest import bench, cache_of_this_test, method  # noqa: F401
from tests.videos import numbered

DEMO = Path(__file__).parents[2] / "results" / "records" / "demo-jittery.json"
OWN = "single-self-0001"


@pytest.fixture
def scored(method):  # noqa: F811
    """A method and the file of its record."""
    method.score(metrics=["psnr", "lmd", "mae"], method="mine")
    return method, method.folder.with_suffix(".json")


def test_a_good_record_is_filed_and_is_in_tables(scored, tmp_path):
    method, path = scored  # noqa: F811
    done = submit(path, results=tmp_path / "results", benchmark=method.bench.root)
    assert done.problems == ()
    assert done.path == tmp_path / "results" / "records" / "exprbench-mine.json"
    assert load_record(done.path) == load_record(path)
    again = submit(path, results=tmp_path / "results")
    assert again.path is None
    assert again.problems == (f"{done.path} is filed already; pass --replace to replace it",)
    assert submit(path, results=tmp_path / "results", replace=True).path == done.path


def changed_case(record, **changes):
    return [replace(case, **changes) if case.case_id == OWN else case for case in record.cases]


def test_what_keeps_a_record_from_being_filed(tmp_path):
    record = load_record(DEMO)
    changes = {
        "weights": {**record.weights, "i3d": "0" * 64},
        "benchmark": replace(record.benchmark, num_cases=99),
    }
    save_record(tmp_path / "a.json", replace(record, **changes))
    done = submit(tmp_path / "a.json", results=tmp_path)
    assert done.path is None
    assert done.problems[0].startswith("its model file i3d is 000000000000, not the published one, bec6519f66ea")
    assert done.problems[1] == "it has 11 of the benchmark's 99 cases; score all of them"
    assert not (tmp_path / "records").exists()


def test_values_that_no_video_can_have(tmp_path):
    record = load_record(DEMO)
    cases = changed_case(record, values={**record.cases[0].values, "mae": 500.0})
    from exprbench.leaderboard.submission import record_problems

    assert "expected 0 to 180" in "".join(record_problems(replace(record, cases=cases)))
    assert list(record_problems(record)) == []


def test_means_that_do_not_follow_from_the_cases_are_refused(tmp_path):
    content = json.loads(DEMO.read_text(encoding="utf-8"))
    content["groups"][0]["aggregates"]["psnr"]["value"] = 99.0
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="but its cases give"):
        submit(tmp_path / "a.json", results=tmp_path)


def test_a_record_of_another_benchmark_is_not_filed(scored, tmp_path):
    method, _ = scored  # noqa: F811
    done = submit(DEMO, results=tmp_path, benchmark=method.bench.root)
    assert done.path is None
    assert done.problems[0].startswith("its benchmark is ")


def test_a_verified_record_has_a_receipt_and_its_status(scored):
    method, path = scored  # noqa: F811
    done = verify(path, predictions=method.folder, benchmark=method.bench, sample=3, seed=1)
    assert done.receipt.problems == []
    assert done.receipt.num_predictions == len(method.bench.cases)
    assert len(done.receipt.sample) == 3
    assert {"psnr", "lmd", "mae"} <= set(done.receipt.columns)
    assert load_receipt(path) == done.receipt
    assert status_of(path) == "verified"
    assert "| mine \u2713 |" in table(path)
    assert table(path, format="csv").splitlines()[1].endswith(",verified")
    path.write_text(path.read_text() + "\n")
    assert status_of(path) == "self-scored"


def test_a_prediction_that_was_replaced_is_found(scored, capsys):
    method, path = scored  # noqa: F811
    method.write(OWN, [numbered(7) for _ in range(40)])
    words = ["verify", str(path), "--predictions", str(method.folder), "--benchmark", str(method.bench.root)]
    assert cli.main([*words, "--sample", "99"]) == 3
    out, err = capsys.readouterr()
    assert f"differs: {OWN}: the prediction is " in err
    assert f"differs: {OWN}: psnr is " in err
    assert f"{len(method.bench.cases) - 1} predictions have the hash of the record" in out
    assert status_of(path) == "self-scored"


def plus(bound):
    return None if bound is None else bound + 0.001


def test_numbers_that_were_changed_consistently_are_found(scored):
    method, path = scored  # noqa: F811
    record = load_record(path)
    cases = [
        replace(c, values={**c.values, "lmd": c.values["lmd"] + 0.001}) if "lmd" in c.values else c
        for c in record.cases
    ]
    groups = [
        replace(
            g,
            aggregates={
                n: replace(a, value=a.value + 0.001, low=plus(a.low), high=plus(a.high)) if n == "lmd" else a
                for n, a in g.aggregates.items()
            },
        )
        for g in record.groups
    ]
    save_record(path, replace(record, cases=cases, groups=groups))
    found = verify(path, predictions=method.folder, benchmark=method.bench, sample=99).receipt
    assert any(": lmd is " in problem for problem in found.problems)


def test_the_schema_is_shipped_and_that_of_the_code(capsys):
    shipped = Path(exprbench.__file__).with_name("record.schema.json").read_text(encoding="utf-8")
    assert json.loads(shipped) == record_schema()
    assert cli.main(["export", "--to", "schema"]) == 0
    assert capsys.readouterr().out == shipped


def test_a_stored_record_follows_the_schema():
    jsonschema = pytest.importorskip("jsonschema")
    content = json.loads(DEMO.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(record_schema()).validate(content)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(record_schema()).validate({**content, "extra": 1})


def test_a_flat_csv_has_a_line_per_number():
    lines = to_flat_csv([DEMO]).splitlines()
    assert lines[0].startswith("benchmark,dataset,method,track,metric,printed,value,low,high")
    assert len(lines) == 1 + sum(len(group.aggregates) for group in load_record(DEMO).groups)


def test_eval_results_have_an_entry_per_number(tmp_path):
    text = to_eval_results(DEMO, dataset="lab/exprbench", url="https://example.org")
    entries = text.split("- dataset:")[1:]
    assert len(entries) == 18
    lmd = next(entry for entry in entries if '"single-self-lmd"' in entry)
    value = load_record(DEMO).group("single", "self").aggregates["lmd"].value
    assert f"  value: {value!r}\n" in lmd
    assert 'notes: "lmd[mp478,unit,center]; 3 videos; self-scored' in lmd
    with pytest.raises(UserError, match="expected the id of a Hugging Face dataset"):
        to_eval_results(DEMO, dataset="exprbench")
    yaml = pytest.importorskip("yaml")
    assert {entry["dataset"]["id"] for entry in yaml.safe_load(text)} == {"lab/exprbench"}


def test_receipts_are_not_read_as_records(scored, tmp_path):
    method, path = scored  # noqa: F811
    verify(path, predictions=method.folder, benchmark=method.bench, sample=1)
    done = submit(path, results=tmp_path / "r")
    assert status_of(done.path) == "verified"
    assert [p.name for p in (tmp_path / "r" / "records").glob("*.json")] == ["exprbench-mine.json"]
    shutil.rmtree(tmp_path / "r")
