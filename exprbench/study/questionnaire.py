"""Build the questionnaire: choose cases, encode media, assign trials to raters, write the folder and the key."""

import csv
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from exprbench.benchmark import SPLITS, TRACKS, Benchmark, Case
from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import sha256_json, write_bytes, write_text
from exprbench.core.processes import num_cores, process_map
from exprbench.core.schema import check_settings, setting
from exprbench.study.design import assign, conditions_of, draw_cases, num_cases_for, order, orient
from exprbench.study.questions import MAX_SCORE, QUESTIONS
from exprbench.study.stimuli import encode
from exprbench.study.study_key import (
    SCHEMA,
    StudyKey,
    Trial,
    hidden_name,
    rater_codes,
    secret_of,
    trial_id,
    write_key,
)
from exprbench.study.trial_media import Media, TrialMedia, known_trials, missing_results, practice_trials

PAGE = Path(__file__).parent / "page"
PAGE_SUFFIXES = (".html", ".css", ".js")
SECONDS_PER_ANSWER = 15
FILE_TIME = 946_684_800  # 2000-01-01: times of files would show the order in which methods were encoded


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Settings of a study; see `exprbench study build --help`."""

    mode: str = setting("rating", "scores from 0 to 10, or choices between two results", choices=("rating", "pairs"))
    raters: int = setting(32, "number of raters", minimum=1)
    per_rater: int = setting(24, "number of evaluated trials of each rater, without repeats", minimum=1)
    cases: int | None = setting(None, "number of cases, drawn at random", minimum=1)
    split: str = setting("both", "split", choices=("both", *SPLITS))
    track: str = setting("cross", "track; the paper's is cross", choices=("both", *TRACKS))
    gold: int = setting(2, "number of trials with a known answer", minimum=0)
    traps: int = setting(1, "number of trials that say what to answer", minimum=0)
    repeats: int = setting(2, "number of repeated trials", minimum=0)
    seed: int = setting(0, "seed of all draws")
    title: str = setting("Portrait animation study", "title of the page")


@dataclass(frozen=True, kw_only=True)
class BuiltStudy:
    """A built study.

    Attributes:
        root: folder for the raters.
        key: key file.
        links: CSV file with the code and the link of each rater.
        cases: ids of the cases shown.
        left_out: case id -> reason.
        minutes: estimated duration of a session.
        votes: smallest and largest number of raters per video (or pair of videos).
    """

    root: Path
    key: Path
    links: Path
    cases: tuple[str, ...]
    left_out: dict[str, str]
    minutes: float
    votes: tuple[int, int]


def build_study(
    *,
    benchmark: Path | str,
    predictions: Mapping[str, Path | str],
    out: Path | str,
    key: Path | str | None = None,
    settings: StudySettings | None = None,
    workers: int | None = None,
) -> BuiltStudy:
    """Build a blind questionnaire for a number of raters as one static folder.

    Nothing in the folder names a method: media and trials are named by hashes whose secret is in the key file. The same
    inputs, settings and secret give the same folder, byte for byte; the secret of an existing key file is used again.

    Args:
        benchmark: benchmark folder.
        predictions: method -> folder of its videos.
        out: folder to create.
        key: key file to write, outside of `out` (default: `OUT.key.json`).
        settings: see `StudySettings`.
        workers: number of processes; 0 runs everything in this process; None uses all cores.

    Raises:
        UserError: an option is out of range, `out` exists, or no case has a video of every method.
    """
    settings = settings or StudySettings()
    root, bench = Path(out), Benchmark.open(benchmark)
    key_path = Path(key) if key else root.with_name(f"{root.name}.key.json")
    _check(root, key_path, predictions, settings)
    media = Media(bench=bench, predictions={m: Path(p) for m, p in predictions.items()}, secret=secret_of(key_path))
    cases, left_out = _choose_cases(media, settings)
    unfinished = root.with_name(f".{root.name}.building")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
    try:
        durations = _encode_all(media, cases, settings, unfinished, num_cores() if workers is None else workers)
        cases, broken = _without_broken(media, cases, durations)
        sessions, votes = _make_sessions(media, cases, durations, settings)
        study_key = _make_key(media, sessions, settings)
        _write_folder(unfinished, media, study_key, settings)
        unfinished.rename(root)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    write_key(key_path, study_key)
    links = key_path.with_name(f"{root.name}.raters.csv")
    write_text(links, _links(study_key))
    return BuiltStudy(
        root=root,
        key=key_path,
        links=links,
        cases=tuple(case.case_id for case in cases),
        left_out={**left_out, **broken},
        minutes=max(sum(t.duration_s + SECONDS_PER_ANSWER for t in session) for session in sessions) / 60,
        votes=votes,
    )


def _check(root: Path, key: Path, predictions: Mapping[str, Path | str], settings: StudySettings) -> None:
    check_settings(settings, lambda name: f"--{name.replace('_', '-')}")
    if root.exists():
        raise UserError(f"{root} already exists; remove it or choose another folder with --out")
    if key.resolve().is_relative_to(root.resolve()):
        raise UserError(f"the key {key} is inside {root}, which the raters get; choose a file outside with --key")
    least = 2 if settings.mode == "pairs" else 1
    if len(predictions) < least:
        raise UserError(f"{len(predictions)} methods are given; mode {settings.mode} needs {least} or more")
    for method, folder in predictions.items():
        if not method or not Path(folder).is_dir():
            raise UserError(f"method {method!r}: {folder} is not a folder; expected METHOD=DIR with one video per case")


def _choose_cases(media: Media, settings: StudySettings) -> tuple[list[Case], dict[str, str]]:
    """Return the cases to show, and the reasons why others cannot be shown."""
    split, track = (None if name == "both" else name for name in (settings.split, settings.track))
    reasons = {case: missing_results(media, case) for case in media.bench.select(split, track)}
    complete = [case for case, reason in reasons.items() if not reason]
    left_out = {case.case_id: reason for case, reason in reasons.items() if reason}
    if not complete:
        why = next(iter(left_out.values()), "the benchmark has no case of this split and track")
        raise UserError(f"no case has a video of every method ({why})")
    num_conditions = len(conditions_of(list(media.predictions), settings.mode))
    count = settings.cases or num_cases_for(num_conditions, settings.raters, settings.per_rater)
    return draw_cases(complete, count, settings.seed), left_out


def _scored(case: Case, methods: tuple[str, ...]) -> Trial:
    return Trial(kind="scored", case_id=case.case_id, split=case.split, left=methods[0], right="".join(methods[1:]))


def _encode_all(
    media: Media, cases: Sequence[Case], settings: StudySettings, root: Path, workers: int
) -> dict[str, float | ItemError]:
    """Encode everything that can be shown; return file name -> duration in seconds, or the error."""
    special = _special(cases, settings)
    trials = [_scored(case, (method,)) for case in cases for method in media.predictions]
    stimuli = {s.name: s for trial in [*special, *trials] for s in media.of(trial).all}
    work = partial(encode, root=root / "media")
    results = process_map(work, list(stimuli.values()), workers=workers, label="study", unit="file")
    durations = {stimulus.name: result for stimulus, result in results}
    for name in (s.name for trial in special for s in media.of(trial).all):
        if isinstance(durations[name], ItemError):
            raise UserError(f"{stimuli[name].path} cannot be shown ({durations[name]}); see exprbench check")
    return durations


def _special(cases: Sequence[Case], settings: StudySettings) -> list[Trial]:
    known = known_trials(cases, settings.mode, settings.gold, settings.traps, settings.seed)
    return [*practice_trials(cases, settings.mode, settings.seed), *known]


def _without_broken(
    media: Media, cases: Sequence[Case], durations: Mapping[str, float | ItemError]
) -> tuple[list[Case], dict[str, str]]:
    """Return the cases whose files could all be encoded, and the reasons of the others."""
    broken = {}
    for case in cases:
        for method in media.predictions:
            for stimulus in media.of(_scored(case, (method,))).all:
                if isinstance(error := durations[stimulus.name], ItemError):
                    broken[case.case_id] = f"{method}: {error}"
    kept = [case for case in cases if case.case_id not in broken]
    if not kept:
        raise UserError(f"no case has readable videos of every method ({next(iter(broken.values()))})")
    return kept, broken


def _make_sessions(
    media: Media, cases: Sequence[Case], durations: Mapping[str, Any], settings: StudySettings
) -> tuple[list[list[Trial]], tuple[int, int]]:
    """Return the trials of each rater, practice first, and the least and most raters per stimulus."""
    conditions = conditions_of(list(media.predictions), settings.mode)
    picks = assign(cases, conditions, settings.raters, settings.per_rater, settings.seed)
    votes = Counter((case.case_id, methods) for session in picks for case, methods in session)
    counts = [votes[case.case_id, methods] for case in cases for methods in conditions]
    special = _special(cases, settings)
    practice = [trial for trial in special if trial.kind == "practice"]
    known = [trial for trial in special if trial.kind != "practice"]

    def timed(trial: Trial) -> Trial:
        return replace(trial, duration_s=max(durations[s.name] for s in media.of(trial).results))

    sessions = []
    for rater, trials in enumerate(orient(picks, settings.seed)):
        ordered = order(trials, known, settings.repeats, (settings.seed, rater))
        sessions.append([timed(trial) for trial in [*practice, *ordered]])
    return sessions, (min(counts), max(counts))


def _make_key(media: Media, sessions: Sequence[Sequence[Trial]], settings: StudySettings) -> StudyKey:
    secret = media.secret
    ids = [[trial_id(secret, trial) for trial in session] for session in sessions]
    raters = dict(zip(rater_codes(secret, len(sessions)), map(tuple, ids), strict=True))
    described = [asdict(settings), media.bench.sha256, sorted(media.predictions), raters]
    return StudyKey(
        schema=SCHEMA,
        study=hidden_name(secret, "study", sha256_json(described)),
        secret=secret,
        mode=settings.mode,  # type: ignore[arg-type]
        seed=settings.seed,
        benchmark=media.bench.name,
        benchmark_sha256=media.bench.sha256,
        methods=tuple(media.predictions),
        trials={trial_id(secret, trial): trial for session in sessions for trial in session},
        raters=raters,
    )


def _write_folder(root: Path, media: Media, key: StudyKey, settings: StudySettings) -> None:
    """Write the page and its data, and remove media that no rater sees."""
    trials = {name: media.of(trial) for name, trial in key.trials.items()}
    shown = {stimulus.name for files in trials.values() for stimulus in files.all}
    for path in (root / "media").iterdir():
        if path.name not in shown:
            path.unlink()
    data = {
        "schema": SCHEMA,
        "study": key.study,
        "title": settings.title,
        "mode": key.mode,
        "max_score": MAX_SCORE,
        "questions": [asdict(question) for question in QUESTIONS],
        "trials": dict(sorted((name, _page_entry(files)) for name, files in trials.items())),
        "practice": sorted(name for name, trial in key.trials.items() if trial.kind == "practice"),
        "raters": dict(sorted(key.raters.items())),
    }
    write_text(root / "study.js", f"window.STUDY = {json.dumps(data, indent=1)};\n")
    for path in sorted(PAGE.iterdir()):
        if path.suffix in PAGE_SUFFIXES:
            write_bytes(root / path.name, path.read_bytes())
    for path in [*root.rglob("*"), root]:
        os.utime(path, (FILE_TIME, FILE_TIME))


def _page_entry(files: TrialMedia) -> dict[str, Any]:
    return {
        "source": f"media/{files.source.name}" if files.source else None,
        "drivers": [f"media/{s.name}" for s in files.drivers],
        "results": [f"media/{s.name}" for s in files.results],
    }


def _links(key: StudyKey) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rater", "page"])
    writer.writerows([code, f"index.html#{code}"] for code in sorted(key.raters))
    return text.getvalue()
