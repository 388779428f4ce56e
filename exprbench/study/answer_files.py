"""Read the raters' answer files and screen them: which sessions are accepted, and which are used."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from exprbench.core.errors import UserError
from exprbench.core.schema import decode, setting
from exprbench.study.questions import IDS, MAX_SCORE
from exprbench.study.study_key import HIGH, LOW, SCHEMA, StudyKey, Trial

MAX_BYTES = 5_000_000
GOLD_LIMIT = 5  # a degraded video has a VQ below it; a copy of the driving video has an ES above it
Outcome = Literal["used", "accepted", "rejected", "invalid"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When a complete session is used; the defaults are those of P.910's crowdsourcing toolkit.

    Attributes:
        min_variance: smallest variance of a session's scores. The toolkit's 0.15 on a scale from 1 to 5 is 0.9375 on
            one from 0 to 10.
        max_play_ratio: largest ratio of the time that the results took to play to their duration.
    """

    min_variance: float = setting(0.15 * (10 / 4) ** 2, "smallest variance of a session's scores", minimum=0)
    max_play_ratio: float = setting(1.15, "largest ratio of playing time to duration", minimum=0)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Answer to one trial: a score (0 to 10) or side (0 left, 1 right) per question.

    Attributes:
        plays: how often the video was played to its end.
        watched_s: seconds that the last play took.
        time_s: seconds on the page, since it was last opened.
    """

    trial: str
    scores: dict[str, int]
    plays: int
    watched_s: float
    time_s: float


@dataclass(frozen=True, kw_only=True)
class AnswerFile:
    """Content of the file that a rater sends."""

    schema: int
    study: str
    rater: str
    mode: Literal["rating", "pairs"]
    started: str
    saved: str
    screen: tuple[float, float]
    answers: list[Answer]


@dataclass(frozen=True, kw_only=True)
class Session:
    """A screened answer file.

    Attributes:
        outcome: `used`; `accepted`, but not used; `rejected`; or `invalid`, not an answer file of this study.
        reasons: why it is not used.
        answers: pairs of trial and answer.
        repeat_difference: mean absolute difference of scores (share of changed choices) between repeated trials.
    """

    file: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    rater: str = ""
    saved: str = ""
    answers: tuple[tuple[Trial, Answer], ...] = field(default=(), repr=False)
    repeat_difference: float | None = None


def read_sessions(paths: Sequence[Path], key: StudyKey, rules: Rules) -> list[Session]:
    """Return a session per file; a bad file is `invalid`, and the others are not affected.

    A rater's second file is rejected unless its answers are the same, in which case it is left out.
    """
    sessions: list[Session] = []
    first: dict[str, Session] = {}
    for session in sorted((_read(path, key, rules) for path in paths), key=lambda s: (s.saved, s.file)):
        earlier = first.get(session.rater) if session.rater else None
        if earlier and earlier.answers == session.answers:
            continue
        if earlier:
            reason = f"rater {session.rater} already sent {earlier.file}"
            session = Session(file=session.file, rater=session.rater, outcome="rejected", reasons=(reason,))  # noqa: PLW2901
        elif session.rater:
            first[session.rater] = session
        sessions.append(session)
    return sessions


def _read(path: Path, key: StudyKey, rules: Rules) -> Session:
    try:
        content = _decode(path)
        answers = _match(content, key)
    except UserError as error:
        return Session(file=path.name, outcome="invalid", reasons=(str(error),))
    outcome, reasons = _screen(answers, len(key.raters[content.rater]), key.mode, rules)
    return Session(
        file=path.name,
        outcome=outcome,
        reasons=reasons,
        rater=content.rater,
        saved=content.saved,
        answers=answers,
        repeat_difference=_repeat_difference(answers),
    )


def _decode(path: Path) -> AnswerFile:
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path.name} has more than {MAX_BYTES:,} bytes; it is not an answer file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path.name} is not valid JSON ({error})") from error
    return decode(AnswerFile, content, path.name)


def _match(content: AnswerFile, key: StudyKey) -> tuple[tuple[Trial, Answer], ...]:
    """Return the answers with their trials, unblinded."""
    if content.schema != SCHEMA or content.mode != key.mode:
        raise UserError(f"schema {content.schema}, mode {content.mode}; expected {SCHEMA}, {key.mode}")
    if content.study != key.study:
        raise UserError(f"it belongs to study {content.study}, not {key.study}")
    if content.rater not in key.raters:
        raise UserError(f"there is no rater {content.rater!r} in this study")
    assigned = key.raters[content.rater]
    if tuple(answer.trial for answer in content.answers) != assigned[: len(content.answers)]:
        raise UserError(f"its trials are not those of rater {content.rater}")
    highest = MAX_SCORE if key.mode == "rating" else 1
    for answer in content.answers:
        if set(answer.scores) != set(IDS) or not all(0 <= score <= highest for score in answer.scores.values()):
            raise UserError(f"trial {answer.trial} has {answer.scores}; expected {', '.join(IDS)} from 0 to {highest}")
    return tuple((key.trials[answer.trial], answer) for answer in content.answers)


def _screen(
    answers: Sequence[tuple[Trial, Answer]], num_assigned: int, mode: str, rules: Rules
) -> tuple[Outcome, tuple[str, ...]]:
    rejected = _reasons_to_reject(answers, num_assigned)
    if rejected:
        return "rejected", tuple(rejected)
    unused = _reasons_not_to_use(answers, mode, rules)
    return ("accepted", tuple(unused)) if unused else ("used", ())


def _reasons_to_reject(answers: Sequence[tuple[Trial, Answer]], num_assigned: int) -> list[str]:
    reasons = []
    if len(answers) < num_assigned:
        reasons.append(f"{len(answers)} of {num_assigned} trials are answered")
    if unseen := sum(answer.plays < 1 for _, answer in answers):
        reasons.append(f"{unseen} videos were not played to the end")
    traps = [(trial, answer) for trial, answer in answers if trial.kind == "trap"]
    if wrong := sum(set(answer.scores.values()) != {trial.expected} for trial, answer in traps):
        reasons.append(f"{wrong} of {len(traps)} attention checks are wrong")
    return reasons


def _reasons_not_to_use(answers: Sequence[tuple[Trial, Answer]], mode: str, rules: Rules) -> list[str]:
    reasons = []
    golds = [(trial, answer) for trial, answer in answers if trial.kind == "gold"]
    if wrong := sum(not gold_is_right(trial, answer.scores) for trial, answer in golds):
        reasons.append(f"{wrong} of {len(golds)} trials with a known answer are wrong")
    scores = np.array([list(a.scores.values()) for t, a in answers if t.kind == "scored"])
    if mode == "rating" and (variance := float(scores.var())) < rules.min_variance:
        reasons.append(f"the scores hardly differ (variance {variance:.2f}; expected {rules.min_variance:.2f} or more)")
    if mode == "pairs" and len(scores) > 1 and len(np.unique(scores)) == 1:
        reasons.append("all choices are of the same side")
    results = [(t.duration_s, a.watched_s) for t, a in answers]
    ratio = sum(watched for _, watched in results) / sum(duration for duration, _ in results)
    if ratio > rules.max_play_ratio:
        reasons.append(f"videos took {ratio:.2f} times their duration to play; expected up to {rules.max_play_ratio:g}")
    return reasons


def gold_is_right(trial: Trial, scores: dict[str, int]) -> bool:
    """Return whether a trial with a known answer is answered as expected.

    A degraded video has a VQ below the middle of the scale, a copy of the driving video an ES above it; of a pair, the
    copy has the better VQ.
    """
    if trial.right:
        return scores["VQ"] == (trial.left, trial.right).index(HIGH)
    return scores["VQ"] < GOLD_LIMIT if trial.left == LOW else scores["ES"] > GOLD_LIMIT


def _repeat_difference(answers: Sequence[tuple[Trial, Answer]]) -> float | None:
    first = {(t.case_id, t.left, t.right): a.scores for t, a in answers if t.kind == "scored"}
    repeats = [(first[t.case_id, t.left, t.right], a.scores) for t, a in answers if t.kind == "repeat"]
    differences = [abs(before[name] - after[name]) for before, after in repeats for name in IDS]
    return float(np.mean(differences)) if differences else None
