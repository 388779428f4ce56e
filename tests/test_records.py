import json
from dataclasses import replace

import pytest

from exprbench import UserError, load_record, records
from exprbench.records import SCHEMA, Aggregate, CaseScore, Group, ScoredBenchmark, ScoreRecord, save_record


def record(method="m", value=5.0, **changes):
    case = CaseScore(
        case_id="single-self-0001",
        split="single",
        track="self",
        outcome="scored",
        num_frames=10,
        num_frames_reference=20,
        size=(64, 48),
        values={"lmd": value},
    )
    group = Group(
        split="single",
        track="self",
        num_cases=1,
        num_cases_benchmark=1,
        num_scored=1,
        num_resized=0,
        num_other_aspect=0,
        num_extra_faces=0,
        coverage=0.5,
        detect_rate=1.0,
        errors={},
        aggregates={"lmd": Aggregate(value=value, num_videos=1)},
        unscored={"fid": "weights_missing"},
    )
    made = ScoreRecord(
        schema=SCHEMA,
        method=method,
        benchmark=ScoredBenchmark(name="b", sha256="0" * 64, num_cases=1),
        profile="mediapipe",
        protocol={"fps": "25"},
        ids={"lmd": "lmd[mp478,unit,center]"},
        weights={},
        versions={},
        device="cpu",
        groups=[group],
        cases=[case],
        timing={"seconds": 1.0},
    )
    return replace(made, **changes)


def test_a_record_comes_back_as_it_was(tmp_path):
    save_record(tmp_path / "m.json", record())
    assert load_record(tmp_path / "m.json") == record()
    save_record(tmp_path / "n.json", load_record(tmp_path / "m.json"))
    assert (tmp_path / "m.json").read_bytes() == (tmp_path / "n.json").read_bytes()


def test_coverage_is_the_share_of_the_references_frames():
    assert record().cases[0].coverage == 0.5
    assert replace(record().cases[0], num_frames_reference=0).coverage == 0


@pytest.mark.parametrize(
    ("size", "reference", "expected"),
    [
        ((512, 512), (512, 512), False),
        ((1024, 1024), (512, 512), False),
        ((161, 97), (160, 96), False),  # an odd size
        ((480, 832), (478, 850), False),  # rounded to multiples of 16
        ((912, 512), (512, 512), True),  # padded
        ((512, 912), (512, 512), True),
        ((1024, 512), (512, 512), True),  # two pictures next to each other
        (None, (512, 512), False),
        ((512, 512), (0, 0), False),
    ],
)
def test_another_aspect_ratio_is_more_than_rounded_sizes(size, reference, expected):
    case = replace(record().cases[0], size=size, size_reference=reference)
    assert case.has_other_aspect == expected


def damaged(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(UserError) as error:
        load_record(tmp_path / "m.json")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_records_that_are_not_whole(tmp_path):
    save_record(tmp_path / "m.json", record())
    text = (tmp_path / "m.json").read_text()
    assert "not valid JSON" in damaged(tmp_path, text[: len(text) // 2])
    assert "not valid JSON" in damaged(tmp_path, "")
    assert "not valid JSON" in damaged(tmp_path, "[" * 100_000)
    assert "schema 'list'" in damaged(tmp_path, "[]")
    assert "schema 99" in damaged(tmp_path, text.replace(f'"schema": {SCHEMA}', '"schema": 99'))
    (tmp_path / "m.json").unlink()
    with pytest.raises(UserError, match="there is no record"):
        load_record(tmp_path / "m.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(extra=1), "unknown key 'extra'"),
        (lambda t: t["cases"].append(t["cases"][0]), "lists a case twice"),
        (lambda t: t["ids"].clear(), "numbers without an id: lmd"),
        (lambda t: t["cases"][0]["values"].update(lmd=float("inf")), "expected a number"),
        (lambda t: t["cases"][0].update(outcome="great"), "expected one of 'scored', 'error'"),
        (lambda t: t.update(profile="other"), "expected one of"),
        (lambda t: t["groups"][0].pop("coverage"), "has no 'coverage'"),
    ],
)
def test_records_from_elsewhere_are_not_trusted(tmp_path, change, message):
    told = record().to_json()
    change(told)
    assert message in damaged(tmp_path, json.dumps(told))


def test_a_file_larger_than_any_record_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.json"
    save_record(path, record())
    monkeypatch.setattr(records, "MAX_BYTES", path.stat().st_size)
    assert load_record(path) == record()
    monkeypatch.setattr(records, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(UserError, match=r"m\.json has \d+ bytes; expected a record of at most"):
        load_record(path)


@pytest.mark.parametrize("name", ["x" * 100, "M\u00e9thode 2 (ours)", "\u6a21\u578b"])
def test_a_line_of_text_is_a_method_name(tmp_path, name):
    save_record(tmp_path / "m.json", record(method=name))
    assert load_record(tmp_path / "m.json").method == name


@pytest.mark.parametrize("name", ["x" * 101, "", "   ", "two\nlines", "turned \u202e round", "a bell \x07"])
def test_invalid_method_names_are_refused(tmp_path, name):
    save_record(tmp_path / "m.json", record(method=name))
    with pytest.raises(UserError, match="expected one line of printable text"):
        load_record(tmp_path / "m.json")


@pytest.mark.parametrize("case_id", ["single-self-0001x", "../single-self-0001", "single-self-0001\n", "single-self-1"])
def test_invalid_case_ids_are_refused(tmp_path, case_id):
    save_record(tmp_path / "m.json", record(cases=[replace(record().cases[0], case_id=case_id)]))
    with pytest.raises(UserError, match="expected an id such as single-self-0001"):
        load_record(tmp_path / "m.json")


def test_every_number_of_a_group_or_a_case_needs_an_id(tmp_path):
    of_cases = record(groups=[replace(record().groups[0], aggregates={})], ids={})
    of_groups = record(cases=[replace(record().cases[0], values={})], ids={})
    for made in (of_cases, of_groups):
        save_record(tmp_path / "m.json", made)
        with pytest.raises(UserError, match="numbers without an id: lmd"):
            load_record(tmp_path / "m.json")


def test_a_group_is_found_by_split_and_track():
    groups = [replace(record().groups[0], split=s, track=t) for s in ("single", "multi") for t in ("self", "cross")]
    made = record(groups=groups)
    assert [made.group(g.split, g.track) for g in groups] == groups
    assert record().group("single", "cross") is None


def test_a_record_of_another_version_is_refused_whichever_it_is(tmp_path):
    text = json.dumps(record().to_json())
    for schema in ("0", "1", "3", "null", '"2"'):
        assert "is a record of schema" in damaged(tmp_path, text.replace('"schema": 2', f'"schema": {schema}'))


def test_a_failed_write_leaves_the_previous_record(tmp_path, small_disk):
    save_record(tmp_path / "m.json", record())
    with pytest.raises(OSError, match="too large"):
        save_record(tmp_path / "m.json", record(versions={"python": "3" * 5000}))
    assert load_record(tmp_path / "m.json") == record()
    assert [p.name for p in tmp_path.iterdir()] == ["m.json"]
