"""Simulated raters with known preferences, whom the aggregate recovers, and raters who are screened out."""

import json
from pathlib import Path

import numpy as np
import pytest

from exprbench import aggregate_study
from exprbench.core.errors import UserError
from exprbench.study import study_table
from exprbench.study.answer_files import Rules, read_sessions
from exprbench.study.comparison import bradley_terry, compare_methods, holm
from tests.study.conftest import METHODS, answers_of, expected_score

ORDER = {"VQ": METHODS, "ES": METHODS, "MN": METHODS, "ER": METHODS[::-1]}


def test_32_raters_with_known_preferences_are_recovered(rated):
    pytest.importorskip("statsmodels")
    rated(raters=32, per_rater=12)
    result = aggregate_study("answers", key="study.key.json")
    assert [s.outcome for s in result.sessions] == ["used"] * 32
    assert [s.split for s in result.splits] == ["single", "multi"]
    for split in result.splits:
        for question, estimates in split.estimates.items():
            assert sorted(METHODS, key=lambda m: estimates[m].mean) == list(ORDER[question])
            for method, estimate in estimates.items():
                assert estimate.num_raters <= 32
                assert estimate.mean == pytest.approx(expected_score(method, question), abs=0.6)
                assert estimate.low < expected_score(method, question) + 0.3
                assert estimate.high > expected_score(method, question) - 0.3
            assert 0 < split.alpha[question] < 1
    single = result.splits[0].contrasts["VQ"]
    assert {c.reference for c in single} == {"best-method"}
    for contrast in single:
        true = expected_score(contrast.method, "VQ") - expected_score("best-method", "VQ")
        assert contrast.difference == pytest.approx(true, abs=0.5)
        assert contrast.low < contrast.difference < contrast.high < 0 or contrast.p_adjusted > 0.05


def test_pairs_recover_the_order_and_the_strengths(rated):
    pytest.importorskip("choix")
    rated(mode="pairs", raters=32, per_rater=18)
    result = aggregate_study("answers", key="study.key.json")
    for split in result.splits:
        for question, estimates in split.estimates.items():
            assert sorted(METHODS, key=lambda m: estimates[m].mean) == list(ORDER[question])
            assert sum(e.mean for e in estimates.values()) == pytest.approx(0, abs=1e-9)
            best, worst = estimates[ORDER[question][-1]], estimates[ORDER[question][0]]
            assert best.low is None or best.low > worst.high
            assert best.win_rate > 0.75
            assert worst.win_rate < 0.25


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def session_of(rated, change, **settings):
    """The first rater's session after a change to their answer file."""
    key, folder = rated(raters=1, per_rater=8, **settings)
    path = next(folder.iterdir())
    content = json.loads(path.read_text())
    trials = [(key.trials[a["trial"]], a) for a in content["answers"]]
    changed = change(content, trials)
    path.write_text(changed if isinstance(changed, str) else json.dumps(content))
    (session,) = read_sessions([path], key, Rules())
    return session.outcome, "; ".join(session.reasons)


def set_all(trials, kind, **fields):
    for trial, answer in trials:
        if trial.kind == kind:
            answer.update(fields)


def scores(value):
    return dict.fromkeys(("VQ", "ES", "MN", "ER"), value)


def wrong_trap(content, trials):
    for trial, answer in trials:
        if trial.kind == "trap":
            answer["scores"] = scores((trial.expected + 1) % 11)


CHANGES = [
    (lambda c, t: None, "used", ""),
    (lambda c, t: c["answers"].pop(), "rejected", "14 of 15 trials are answered"),
    (lambda c, t: c["answers"][3].update(plays=0), "rejected", "1 videos were not played to the end"),
    (wrong_trap, "rejected", "1 of 1 attention checks are wrong"),
    (lambda c, t: set_all(t, "gold", scores=scores(5)), "accepted", "2 of 2 trials with a known answer are wrong"),
    (lambda c, t: set_all(t, "scored", scores=scores(6)), "accepted", "the scores hardly differ (variance 0.00"),
    (lambda c, t: [a.update(watched_s=a["watched_s"] * 1.3) for a in c["answers"]], "accepted", "took 1.30 times"),
    (lambda c, t: set_all(t, "practice", scores=scores(0)), "used", ""),
    (lambda c, t: c.update(study="0" * 16), "invalid", "it belongs to study 0000000000000000"),
    (lambda c, t: c.update(rater="x' OR 1"), "invalid", "there is no rater"),
    (lambda c, t: c["answers"].reverse(), "invalid", "its trials are not those"),
    (lambda c, t: c["answers"][2]["scores"].update(VQ=11), "invalid", "expected VQ, ES, MN, ER from 0 to 10"),
    (lambda c, t: c["answers"][2]["scores"].update(VQ=7.5), "invalid", "expected a whole number"),
    (lambda c, t: c["answers"][2]["scores"].pop("VQ"), "invalid", "expected VQ, ES, MN, ER"),
    (lambda c, t: c.update(mode="pairs"), "invalid", "mode pairs; expected 1, rating"),
    (lambda c, t: c.update(name="me"), "invalid", "unknown key 'name'"),
    (lambda c, t: '{"schema": 1', "invalid", "not valid JSON"),
    (lambda c, t: "[]", "invalid", "expected an object"),
]


@pytest.mark.parametrize(("change", "outcome", "reason"), CHANGES)
def test_sessions_are_screened(rated, change, outcome, reason):
    found, reasons = session_of(rated, change)
    assert found == outcome, reasons
    assert reason in reasons


def test_the_same_file_twice_counts_once_and_a_second_session_is_rejected(rated):
    key, folder = rated(raters=2, per_rater=8)
    first, second = sorted(folder.iterdir())
    (folder / "copy.json").write_text(first.read_text())
    other = {**answers_of(key, second.stem, seed=40), "saved": "2026-01-02T00:00:00Z"}
    (folder / "other.json").write_text(json.dumps(other))
    sessions = read_sessions(sorted(folder.glob("*.json")), key, Rules())
    assert sorted((s.rater, s.outcome) for s in sessions) == sorted(
        [(first.stem, "used"), (second.stem, "used"), (second.stem, "rejected")]
    )
    (rejected,) = (s for s in sessions if s.outcome == "rejected")
    assert rejected.reasons == (f"rater {second.stem} already sent {second.name}",)


def test_bad_files_do_not_stop_the_rest_and_are_listed(rated):
    rated(raters=5, per_rater=12)
    paths = sorted(p for p in Path("answers").iterdir())
    paths[0].write_text("nonsense")
    result = aggregate_study("answers", key="study.key.json", models=False)
    assert sorted(s.outcome for s in result.sessions) == ["invalid", *["used"] * 4]
    shown = study_table.to_markdown(result)
    assert f"- {paths[0].name}: invalid: {paths[0].name} is not valid JSON" in shown
    assert "4 raters (4 used, 1 invalid). BT.500 asks for 15 valid raters or more." in shown


def test_the_formats_agree(rated):
    rated(raters=3, per_rater=12)
    result = aggregate_study("answers", key="study.key.json", models=False)
    estimate = result.splits[0].estimates["VQ"]["best-method"]
    line = next(li for li in study_table.to_csv(result).splitlines() if li.startswith("single,best-method,VQ"))
    assert [float(x) for x in line.split(",")[3:6]] == [estimate.mean, estimate.low, estimate.high]
    content = json.loads(study_table.to_json(result))
    assert content["splits"][0]["estimates"]["VQ"]["best-method"]["mean"] == estimate.mean
    assert "answers" not in content["sessions"][0]
    assert f"**{estimate.mean:.2f}** [{estimate.low:.2f}, {estimate.high:.2f}]" in study_table.to_markdown(result)


def test_the_interval_is_that_of_student():
    import pandas as pd
    from scipy.stats import t

    from exprbench.study.aggregation import rater_mean

    ratings = pd.DataFrame({"rater": list("aabbc"), "score": [2, 4, 5, 7, 9]})
    means = np.array([3.0, 6.0, 9.0])
    estimate = rater_mean(ratings)
    low, high = t.interval(0.95, 2, loc=6.0, scale=means.std(ddof=1) / 3**0.5)
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx((6.0, low, high), abs=1e-12)
    alone = rater_mean(ratings[ratings["rater"] == "a"])
    assert (alone.mean, alone.low, alone.high) == (3.0, None, None)


def test_the_item_by_method_component_widens_the_interval():
    pytest.importorskip("statsmodels")
    import pandas as pd

    rng = np.random.default_rng(1)
    interaction = {(c, m): rng.normal(0, s) for c in range(8) for m, s in (("a", 1.5), ("b", 1.5))}
    rows = [
        (r, c, m, (m == "b") + interaction[c, m] + rng.normal(0, 0.5))
        for r in range(20)
        for c in range(8)
        for m in ("a", "b")
    ]
    (contrast,) = compare_methods(pd.DataFrame(rows, columns=["rater", "case", "method", "score"]))
    paired = np.array([interaction[c, "b"] - interaction[c, "a"] for c in range(8)])
    assert contrast.high - contrast.low == pytest.approx(2 * 2.36 * paired.std(ddof=1) / 8**0.5, rel=0.25)


def test_a_comparison_that_cannot_be_made_says_why():
    import pandas as pd

    frame = pd.DataFrame({"rater": ["a"], "case": ["c"], "method": ["m"], "score": [3]})
    assert compare_methods(frame) == "needs two or more raters, cases and methods (here 1 raters, 1 cases, 1 methods)"


def test_strengths_of_two_methods_by_hand():
    pytest.importorskip("choix")
    wins = np.zeros((10, 2, 2))
    wins[:, 0, 1], wins[:5, 1, 0] = 30, 60
    strengths, low, high = bradley_terry(wins)
    assert strengths == pytest.approx([0, 0], abs=1e-6)  # 300 wins each
    assert low[0] < 0 < high[0]
    wins[:, 1, 0] = 10
    assert np.diff(bradley_terry(wins)[0]) == pytest.approx([-np.log(3)], abs=1e-3)  # for the regularisation


def test_a_method_that_never_lost_has_no_interval():
    pytest.importorskip("choix")
    wins = np.zeros((4, 3, 3))
    wins[:, 0, 1] = wins[:, 0, 2] = wins[:, 1, 2] = wins[:, 2, 1] = 3
    strengths, low, high = bradley_terry(wins)
    assert strengths.argmax() == 0
    assert (low, high) == (None, None)
    wins[0, 2, 0] = 1
    assert bradley_terry(wins)[1] is not None


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06], abs=1e-15)


def test_no_usable_file_is_an_error(rated):
    rated(raters=1)
    for path in Path("answers").iterdir():
        path.write_text("{}")
    with pytest.raises(UserError, match="none of 1 answer files can be used"):
        aggregate_study("answers", key="study.key.json")
    with pytest.raises(UserError, match="there is no missing"):
        aggregate_study("missing", key="study.key.json")
    with pytest.raises(UserError, match="there is no key"):
        aggregate_study("answers", key="no.json")
