"""Aggregate the answers of a study: screen, un-blind, and compute Table 2 with its statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from exprbench.core.errors import UserError
from exprbench.core.schema import check_settings
from exprbench.study.agreement import krippendorff_alpha
from exprbench.study.answer_files import Rules, Session, read_sessions
from exprbench.study.comparison import LEVEL, Contrast, bradley_terry, compare_methods
from exprbench.study.questions import IDS
from exprbench.study.study_key import StudyKey, load_key

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One number of Table 2 with its 95 % interval; in pairs mode, a Bradley-Terry strength in log-odds.

    Attributes:
        win_rate: in pairs mode, the share of pairs that the method won.
    """

    mean: float
    low: float | None
    high: float | None
    num_raters: int
    num_answers: int
    win_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """Results of one split.

    Attributes:
        estimates: question -> method -> number.
        alpha: question -> Krippendorff's alpha, None if undefined; in rating mode.
        contrasts: question -> contrasts with the best method, or the reason why there are none; in rating mode.
    """

    split: str
    estimates: dict[str, dict[str, Estimate]]
    alpha: dict[str, float | None]
    contrasts: dict[str, list[Contrast] | str]


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """Results of a study, and what became of each answer file."""

    study: str
    benchmark: str
    benchmark_sha256: str
    mode: Literal["rating", "pairs"]
    methods: tuple[str, ...]
    sessions: tuple[Session, ...]
    splits: tuple[SplitResult, ...]


def aggregate_study(
    answers: Path | str | Sequence[Path | str],
    *,
    key: Path | str,
    rules: Rules | None = None,
    models: bool = True,
) -> StudyResult:
    """Check the answer files, un-blind them and aggregate those that are used.

    Args:
        answers: folder of answer files (`*.json`), or files.
        key: key file of the study.
        rules: when a session is used.
        models: fit the mixed-effects models (rating mode), which takes seconds per question.

    Raises:
        UserError: there is no usable answer file, or a library of the extra `study` is missing.
    """
    study_key, rules = load_key(key), rules or Rules()
    check_settings(rules, lambda name: f"--{name.replace('_', '-')}")
    sessions = read_sessions(_list_files(answers), study_key, rules)
    used = [session for session in sessions if session.outcome == "used"]
    if not used:
        why = "; ".join(f"{s.file}: {', '.join(s.reasons)}" for s in sessions[:3])
        raise UserError(f"none of {len(sessions)} answer files can be used ({why})")
    rows = to_frame(used)
    summarise = _summarise_pairs if study_key.mode == "pairs" else _summarise_ratings
    splits = [split for split in ("single", "multi") if (rows["split"] == split).any()]
    return StudyResult(
        study=study_key.study,
        benchmark=study_key.benchmark,
        benchmark_sha256=study_key.benchmark_sha256,
        mode=study_key.mode,
        methods=study_key.methods,
        sessions=tuple(sessions),
        splits=tuple(summarise(split, rows[rows["split"] == split], study_key, models) for split in splits),
    )


def _list_files(answers: Path | str | Sequence[Path | str]) -> list[Path]:
    given = [answers] if isinstance(answers, (str, Path)) else list(answers)
    files: list[Path] = []
    for path in map(Path, given):
        if not path.exists():
            raise UserError(f"there is no {path}; expected the raters' answer files or their folder")
        files += sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{', '.join(map(str, given))} holds no answer file (*.json)")
    return files


def to_frame(sessions: Sequence[Session]) -> "pandas.DataFrame":
    """Return the scored answers: one row per rater, trial and question; `score` is the side (0, 1) of a pair."""
    import pandas as pd

    rows = [
        (session.rater, trial.split, trial.case_id, trial.left, trial.right, question, answer.scores[question])
        for session in sessions
        for trial, answer in session.answers
        if trial.kind == "scored"
        for question in IDS
    ]
    return pd.DataFrame(rows, columns=["rater", "split", "case", "method", "right", "question", "score"])


def _summarise_ratings(split: str, rows: "pandas.DataFrame", key: StudyKey, models: bool) -> SplitResult:
    by_question = {question: rows[rows["question"] == question] for question in IDS}
    return SplitResult(
        split=split,
        estimates={
            question: {m: rater_mean(part[part["method"] == m]) for m in key.methods if (part["method"] == m).any()}
            for question, part in by_question.items()
        },
        alpha={question: krippendorff_alpha(_matrix(part)) for question, part in by_question.items()},
        contrasts={question: compare_methods(part) for question, part in by_question.items()} if models else {},
    )


def rater_mean(ratings: "pandas.DataFrame") -> Estimate:
    """Return the mean over raters of their mean scores, with the interval of Student's t over raters (BT.500).

    Args:
        ratings: columns rater and score.
    """
    from scipy.stats import t

    means = ratings.groupby("rater")["score"].mean().to_numpy()
    n = len(means)
    mean = float(means.mean())
    width = float(t.ppf((1 + LEVEL) / 2, n - 1) * means.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    low, high = (mean - width, mean + width) if width is not None else (None, None)
    return Estimate(mean=mean, low=low, high=high, num_raters=n, num_answers=len(ratings))


def _matrix(ratings: "pandas.DataFrame") -> np.ndarray:
    """Return (raters, stimuli) scores, NaN where a rater did not see a stimulus."""
    return ratings.pivot_table(index="rater", columns=["case", "method"], values="score").to_numpy(float)


def _summarise_pairs(split: str, rows: "pandas.DataFrame", key: StudyKey, _: bool) -> SplitResult:
    estimates = {question: _strengths(rows[rows["question"] == question], key.methods) for question in IDS}
    return SplitResult(split=split, estimates=estimates, alpha={}, contrasts={})


def _strengths(choices: "pandas.DataFrame", methods: Sequence[str]) -> dict[str, Estimate]:
    place = {method: i for i, method in enumerate(methods)}
    raters = {rater: i for i, rater in enumerate(sorted(choices["rater"].unique()))}
    wins = np.zeros((len(raters), len(methods), len(methods)))
    for rater, left, right, side in choices[["rater", "method", "right", "score"]].itertuples(index=False):
        winner, loser = (right, left) if side else (left, right)
        wins[raters[rater], place[winner], place[loser]] += 1
    strengths, low, high = bradley_terry(wins)
    won, shown = wins.sum(axis=(0, 2)), wins.sum(axis=(0, 1)) + wins.sum(axis=(0, 2))
    return {
        method: Estimate(
            mean=float(strengths[i]),
            low=float(low[i]) if low is not None else None,
            high=float(high[i]) if high is not None else None,
            num_raters=len(raters),
            num_answers=int(shown[i]),
            win_rate=float(won[i] / shown[i]) if shown[i] else None,
        )
        for method, i in place.items()
    }
