import json
from dataclasses import replace

import pytest

from exprbench import UserError, load_record
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
