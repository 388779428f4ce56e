"""Scoring: one clip in a worker, and the shards of scores that come of it."""

import time
from typing import Any

import pyarrow as pa

from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import sha256_json
from exprbench.media import MediaError, VideoSource, open_frames
from multiexpr.execution.worker import ClipWorker
from multiexpr.models.detector import Models
from multiexpr.recipe import Recipe
from multiexpr.scorers import container, make_scorers
from multiexpr.scorers.base import Frames, Row, Scorer
from multiexpr.selection.rules import rules_of
from multiexpr.sources.locate import video_of
from multiexpr.storage.columns import from_row
from multiexpr.storage.parquet import num_rows, read_note, read_rows, shard_path, write_rows
from multiexpr.storage.score_files import FAILED, NOT_YET, SCORED, STATE
from multiexpr.storage.workspace import Workspace


def passes(row: Row, scorer: str, recipe: Recipe) -> bool:
    """Do a clip's columns pass the rules that read this scorer's?"""
    rules = rules_of(scorer)
    columns = from_row(row) if rules else {}
    return not any(rule.fails(rule.measure(columns, recipe.keep), recipe.keep)[0] for rule in rules)


class ClipScorer:
    """Everything a worker needs to score clips; networks are loaded when the first clip needs them."""

    def __init__(self, recipe: Recipe, models: Models) -> None:
        self.recipe = recipe
        self.scorers = make_scorers(recipe, models)

    def score(self, video: VideoSource, known: dict[str, Row], needed: list[str], *, score_all: bool) -> dict[str, Any]:
        """Measure what is needed of a clip, until a verdict on what is known drops it.

        Args:
            video: the clip.
            known: columns by scorer, from before.
            needed: scorers whose columns are wanted.
            score_all: go on where a verdict drops the clip.

        Returns:
            `scores`: columns by scorer; `errors`: [code, detail] by scorer; `seconds` by scorer, `decode` among them.
        """
        task = _Task(self.recipe, dict(known), set(needed), score_all)
        if task.container(video):
            for costly in (False, True):
                if not task.watch(video, [scorer for scorer in self.scorers if scorer.costly == costly]):
                    break
        return {"scores": task.scores, "errors": task.errors, "seconds": task.seconds}


class _Task:
    """One clip on its way through the scorers."""

    def __init__(self, recipe: Recipe, known: dict[str, Row], needed: set[str], score_all: bool) -> None:
        self.recipe = recipe
        self.columns = known
        self.needed = needed
        self.score_all = score_all
        self.scores: dict[str, Row] = {}
        self.errors: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}

    def container(self, video: VideoSource) -> bool:
        """Measure the container; go on?"""
        if container.NAME in self.needed:
            start = time.perf_counter()
            try:
                self.columns[container.NAME] = self.scores[container.NAME] = container.measure(video)
            except MediaError as error:
                self.errors[container.NAME] = [error.code, error.detail]
            self.seconds[container.NAME] = time.perf_counter() - start
        return self._goes_on(container.NAME)

    def watch(self, video: VideoSource, scorers: list[Scorer]) -> bool:
        """Decode once for all these scorers, then ask one after the other for its columns; go on?"""
        facts = self.columns[container.NAME]
        measurements = {}
        if any(self._wanted(scorer) for scorer in scorers):
            try:
                measurements = self._decode(video, facts, scorers)
            except MediaError as error:
                wanted = next(scorer.name for scorer in scorers if self._wanted(scorer))
                self.errors[wanted] = [error.code, error.detail]
        for scorer in scorers:
            if scorer.name in measurements:
                start = time.perf_counter()
                try:
                    self.columns[scorer.name] = self.scores[scorer.name] = measurements.pop(scorer.name).compute()
                except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
                    self.errors[scorer.name] = ["scorer_failed", f"{type(error).__name__}: {error}"]
                self._spent(scorer.name, start)
            if not self._goes_on(scorer.name):
                return False
        return True

    def _wanted(self, scorer: Scorer) -> bool:
        return scorer.name in self.needed

    def _decode(self, video: VideoSource, facts: Row, scorers: list[Scorer]) -> dict[str, Any]:
        plans = {scorer.name: scorer.frames(facts) for scorer in scorers}
        wanted = [scorer for scorer in scorers if self._wanted(scorer)]
        measurements = {scorer.name: scorer.start(facts) for scorer in wanted}
        times = sorted({t for scorer in wanted for t in plans[scorer.name].times_s})
        wanted_times = {name: set(plans[name].times_s) for name in measurements}
        size = largest(list(plans.values()))
        start = time.perf_counter()
        with open_frames(video, times, short_side=size.short_side, long_side=size.long_side) as frames:
            for frame, at in zip(frames, times, strict=False):
                self._spent("decode", start)
                for name, measurement in measurements.items():
                    if at in wanted_times[name]:
                        start = time.perf_counter()
                        measurement.update(frame, at)
                        self._spent(name, start)
                start = time.perf_counter()
        return measurements

    def _spent(self, name: str, since: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - since

    def _goes_on(self, scorer: str) -> bool:
        if scorer not in self.columns:
            return False
        merged = {key: value for columns in self.columns.values() for key, value in columns.items()}
        return self.score_all or passes(merged, scorer, self.recipe)


def score_task(worker: ClipWorker, request: Row) -> Row:
    """Score a clip in a worker."""
    video = video_of(request["clip"], worker.root)
    scorer = worker.shared(ClipScorer)
    return scorer.score(video, request["known"], request["needed"], score_all=request["score_all"])


def largest(plans: list[Frames]) -> Frames:
    """The size that serves all: scorers that see the same frames see them alike, whichever of them are asked."""
    return Frames(times_s=(), short_side=max(p.short_side for p in plans), long_side=max(p.long_side for p in plans))


class ScoreStage:
    """Shards of clips become shards of scores, one file a scorer.

    A file of scores holds a row for every clip of its shard. Its note tells what the scores depend on (`fingerprint`)
    and which clips had to be measured (`gate`): only clips that passed the rules before this scorer.
    """

    name = "score"
    unit = "clip"

    def __init__(
        self, workspace: Workspace, recipe: Recipe, *, score_all: bool = False, retry_errors: bool = False
    ) -> None:
        self.workspace = workspace
        self.recipe = recipe
        self.score_all = score_all
        self.retry_errors = retry_errors
        self.retried: set[int] = set()
        scorers = make_scorers(recipe, Models(recipe))
        self.order = [container.NAME, *(scorer.name for scorer in scorers)]
        self.columns = {container.NAME: container.COLUMNS, **{s.name: list(s.columns) for s in scorers}}
        self.fingerprints = fingerprints(scorers)

    def shards(self) -> list[int]:
        """All shards."""
        return self.workspace.shards()

    def size(self, shard: int) -> int:
        """How many rows a shard has."""
        return num_rows(shard_path(self.workspace.index, shard))

    def is_done(self, shard: int) -> bool:
        """Does every scorer's file belong to these clips, settings and rules?"""
        if self.retry_errors and shard not in self.retried and self._failed(shard):
            return False
        clips = self._clips_key(shard)
        return bool(clips) and all(self._up_to_date(self._note(shard, name), name, clips) for name in self.order)

    def _failed(self, shard: int) -> bool:
        return any(row["state"] == FAILED for name in self.order for row in self._kept(shard, name, errors=True))

    def _up_to_date(self, note: Row | None, name: str, clips: str) -> bool:
        if note is None or note["fingerprint"] != self.fingerprints[name] or note["clips"] != clips:
            return False
        return note["gate"] in ("all", self._gate(name))

    def _note(self, shard: int, name: str) -> Row | None:
        return read_note(shard_path(self.workspace.scores(name), shard))

    def _clips_key(self, shard: int) -> str:
        """What changes with the shard's clips; empty where it is not indexed yet."""
        note = read_note(shard_path(self.workspace.index, shard))
        return note["key"] if note else ""

    def _gate(self, name: str) -> str:
        """What decides which clips come to a scorer: all before it, and the rules on that."""
        if self.score_all:
            return "all"
        before = self.order[: self.order.index(name)]
        limits = [[rule.name, rule.limit(self.recipe.keep)] for s in before for rule in rules_of(s)]
        people = self.recipe.keep.people
        structure = [people.min_people, people.min_confidence, people.min_height]
        return sha256_json([[self.fingerprints[s] for s in before], limits, structure])

    def _kept(self, shard: int, name: str, *, errors: bool) -> list[Row]:
        """Rows of a file of scores that are still good: of the same settings; errors, where they are wanted."""
        note = self._note(shard, name)
        if note is None or note["fingerprint"] != self.fingerprints[name]:
            return []
        rows = read_rows(shard_path(self.workspace.scores(name), shard))
        return [row for row in rows if row["state"] == SCORED or (errors and row["state"] == FAILED)]

    def rows(self, shard: int) -> list[Row]:
        """The shard's clips."""
        return read_rows(shard_path(self.workspace.index, shard))

    def _before(self, shard: int, clips: list[Row]) -> dict[str, dict[str, Row]]:
        """What is known already: rows by clip id, by scorer; of clips whose files are as they were."""
        stamps = {clip["clip_id"]: clip["stamp"] for clip in clips}
        return {
            name: {
                row["clip_id"]: row
                for row in self._kept(shard, name, errors=not self.retry_errors)
                if stamps.get(row["clip_id"]) == row["stamp"]
            }
            for name in self.order
        }

    def tasks(self, shard: int) -> dict[int, Row]:
        """Requests for workers, by the number of the clip; clips of which all is known need none."""
        clips = self.rows(shard)
        before = self._before(shard, clips)
        requests = {}
        for i, clip in enumerate(clips):
            rows = {name: before[name][clip["clip_id"]] for name in self.order if clip["clip_id"] in before[name]}
            needed = self._needed(rows)
            if needed:
                known = {name: self._values(row, name) for name, row in rows.items()}
                requests[i] = {"task": score_task, "clip": clip, "known": known, "needed": needed,
                               "score_all": self.score_all}  # fmt: skip
        return requests

    def _values(self, row: Row, name: str) -> Row:
        return {column: row[column] for column, _ in self.columns[name]}

    def _needed(self, rows: dict[str, Row]) -> list[str]:
        """Scorers to be asked: from the first unknown on, unless an error or a verdict before it ends the clip."""
        merged: Row = {}
        for i, name in enumerate(self.order):
            if name not in rows:
                return [n for n in self.order[i:] if n not in rows]
            if rows[name]["state"] == FAILED:
                return []
            merged.update(self._values(rows[name], name))
            if not self.score_all and not passes(merged, name, self.recipe):
                return []
        return []

    def finish(self, shard: int, answers: dict[int, Row]) -> dict[str, int]:
        """Write the shard's files; how many clips were measured and how many failed."""
        clips = self.rows(shard)
        before = self._before(shard, clips)
        for name in self.order:
            rows = [self._row(clip, before[name], answers.get(i), name) for i, clip in enumerate(clips)]
            schema = pa.schema([*STATE, *self.columns[name]])
            note = {"fingerprint": self.fingerprints[name], "gate": self._gate(name), "clips": self._clips_key(shard)}
            write_rows(shard_path(self.workspace.scores(name), shard), rows, schema, note)
        self.retried.add(shard)
        failed = sum(bool(answer.get("errors") or "error" in answer) for answer in answers.values())
        return {"clips": len(answers), "errors": failed}

    def _row(self, clip: Row, before: dict[str, Row], answer: Row | None, name: str) -> Row:
        head = {"clip_id": clip["clip_id"], "stamp": clip["stamp"], "state": NOT_YET, "error": "", "detail": ""}
        if answer and name in answer.get("scores", {}):
            return {**head, "state": SCORED, **answer["scores"][name]}
        error = _error_for(name, answer)
        if error:
            return {**head, "state": FAILED, "error": error[0], "detail": error[1]}
        return {**head, **before.get(clip["clip_id"], {})}


def _error_for(name: str, answer: Row | None) -> list[str] | None:
    """The error a scorer's row carries: its own; of a clip that ended before, with the first scorer asked."""
    if not answer:
        return None
    if "error" in answer:
        return answer["error"] if name == answer["needed"][0] else None
    return answer["errors"].get(name)


def fingerprints(scorers: list[Scorer]) -> dict[str, str]:
    """Hash by scorer of all its columns depend on; the size at which frames are decoded for it is part of it.

    Raises:
        UserError: a model is missing.
    """
    facts = {"length_s": 1.0, "width": 1, "height": 1, "fps": 1.0}
    found = {container.NAME: sha256_json(container.fingerprint())}
    for scorer in scorers:
        size = largest([other.frames(facts) for other in scorers if other.costly == scorer.costly])
        try:
            found[scorer.name] = sha256_json([scorer.fingerprint(), size.short_side, size.long_side])
        except ItemError as error:
            raise UserError(error.detail) from error
    return found
