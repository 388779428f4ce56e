"""Score stage: scores clips in workers and writes shards of scores."""

import time
from typing import Any

import pyarrow as pa

from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import read_json, sha256_json
from exprbench.core.processes import KILLED
from exprbench.media import MediaError, VideoSource, open_frames
from multiexpr.execution.worker import ClipWorker
from multiexpr.models.detector import Models
from multiexpr.recipe import Recipe
from multiexpr.scorers import container, make_scorers
from multiexpr.scorers.base import SIZES, Row, Scorer, decoded_short_side, largest_size
from multiexpr.selection.rules import scorer_rules
from multiexpr.sources.locate import video_source
from multiexpr.storage.columns import from_row
from multiexpr.storage.parquet import num_rows, read_metadata, read_rows, shard_path, write_rows
from multiexpr.storage.score_files import FAILED, NOT_YET, SCORED, STATE
from multiexpr.storage.workspace import Workspace


def passes_rules(row: Row, scorer: str, recipe: Recipe) -> bool:
    """Return whether a clip passes the rules on the columns of a scorer."""
    rules = scorer_rules(scorer)
    columns = from_row(row) if rules else {}
    return not any(rule.fails(rule.measure(columns, recipe.keep), recipe.keep)[0] for rule in rules)


class ClipScorer:
    """All scorers of a worker process; networks are loaded when the first clip needs them."""

    def __init__(self, recipe: Recipe, models: Models) -> None:
        self.recipe = recipe
        self.scorers = make_scorers(recipe, models)

    def score(self, video: VideoSource, known: dict[str, Row], needed: list[str], *, score_all: bool) -> dict[str, Any]:
        """Run the needed scorers on a clip, until a rule drops it.

        Args:
            video: the clip.
            known: stored columns by scorer.
            needed: names of the scorers to run.
            score_all: continue if a rule drops the clip.

        Returns:
            `scores`: columns by scorer; `errors`: [code, detail] by scorer; `seconds`: time by scorer, and of `decode`.
        """
        task = _ClipTask(self.recipe, dict(known), set(needed), score_all)
        if task.measure_container(video):
            for costly in (False, True):
                if not task.run_scorers(video, [scorer for scorer in self.scorers if scorer.costly == costly]):
                    break
        return {"scores": task.scores, "errors": task.errors, "seconds": task.seconds}


class _ClipTask:
    """Scoring of one clip."""

    def __init__(self, recipe: Recipe, known: dict[str, Row], needed: set[str], score_all: bool) -> None:
        self.recipe = recipe
        self.columns = known
        self.needed = needed
        self.score_all = score_all
        self.scores: dict[str, Row] = {}
        self.errors: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}

    def measure_container(self, video: VideoSource) -> bool:
        """Measure the container if needed, and return whether to continue."""
        if container.NAME in self.needed:
            start = time.perf_counter()
            try:
                self.columns[container.NAME] = self.scores[container.NAME] = container.measure(video)
            except MediaError as error:
                self.errors[container.NAME] = [error.code, error.detail]
            self.seconds[container.NAME] = time.perf_counter() - start
        return self._should_continue(container.NAME)

    def run_scorers(self, video: VideoSource, scorers: list[Scorer]) -> bool:
        """Decode once for all given scorers, compute their columns in order, and return whether to continue."""
        facts = self.columns[container.NAME]
        measurements = {}
        needed = [scorer for scorer in scorers if scorer.name in self.needed]
        if needed:
            try:
                measurements = self._decode(video, facts, scorers, needed)
            except MediaError as error:
                self.errors[needed[0].name] = [error.code, error.detail]
        for scorer in scorers:
            if scorer.name in measurements:
                start = time.perf_counter()
                try:
                    self.columns[scorer.name] = self.scores[scorer.name] = measurements.pop(scorer.name).compute()
                except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
                    self.errors[scorer.name] = ["scorer_failed", f"{type(error).__name__}: {error}"]
                self._add_time(scorer.name, start)
            if not self._should_continue(scorer.name):
                return False
        return True

    def _decode(self, video: VideoSource, facts: Row, scorers: list[Scorer], needed: list[Scorer]) -> dict[str, Any]:
        """Return the measurements of the needed scorers after their last frame."""
        requests = {scorer.name: scorer.frames(facts) for scorer in scorers}
        measurements = {scorer.name: scorer.start(facts) for scorer in needed}
        requested_s = {name: set(requests[name].times_s) for name in measurements}
        times_s = sorted(set().union(*requested_s.values()))
        short_side = decoded_short_side(facts, largest_size(list(requests.values())))
        start = time.perf_counter()
        with open_frames(video, times_s, short_side=short_side) as frames:
            for frame, time_s in zip(frames, times_s, strict=False):
                self._add_time("decode", start)
                for name, measurement in measurements.items():
                    if time_s in requested_s[name]:
                        start = time.perf_counter()
                        measurement.update(frame, time_s)
                        self._add_time(name, start)
                start = time.perf_counter()
        for scorer in needed:
            if getattr(scorer, "hears", False):
                measurements[scorer.name].listen(video)
        return measurements

    def _add_time(self, name: str, start: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def _should_continue(self, scorer: str) -> bool:
        if scorer not in self.columns:
            return False
        merged = {key: value for columns in self.columns.values() for key, value in columns.items()}
        return self.score_all or passes_rules(merged, scorer, self.recipe)


def score_task(worker: ClipWorker, request: Row) -> Row:
    """Score the clip of a request, in a worker."""
    video = video_source(request["clip"], worker.root)
    scorer = worker.shared(ClipScorer)
    return scorer.score(video, request["known"], request["needed"], score_all=request["score_all"])


class ScoreStage:
    """Stage that turns shards of clips into shards of scores, one file per scorer.

    A file of scores holds a row for every clip of its shard. Its metadata identify what the scores depend on
    (`fingerprint`) and which clips had to be measured (`gate`): only clips that pass the rules on all earlier scorers.
    """

    name = "score"
    unit = "clip"

    def __init__(
        self, workspace: Workspace, recipe: Recipe, *, score_all: bool = False, retry_before: float = 0.0
    ) -> None:
        self.workspace = workspace
        self.recipe = recipe
        self.score_all = score_all
        self.retry_before = retry_before  # Unix time; shards processed before it are done again if they have errors
        scorers = make_scorers(recipe, Models(recipe))
        self.order = [container.NAME, *(scorer.name for scorer in scorers)]
        self.columns = {container.NAME: container.COLUMNS, **{s.name: list(s.columns) for s in scorers}}
        self.fingerprints = fingerprints(scorers)

    def shards(self) -> list[int]:
        """Return the numbers of all shards."""
        return self.workspace.shards()

    def size(self, shard: int) -> int:
        """Return the number of clips of a shard."""
        return num_rows(shard_path(self.workspace.index, shard))

    def is_done(self, shard: int) -> bool:
        """Return whether every scorer's file belongs to the shard's clips and to these settings and rules."""
        if self._retries(shard) and self._has_errors(shard):
            return False
        clips = self._clips_key(shard)
        return bool(clips) and all(self._is_up_to_date(shard, name, clips) for name in self.order)

    def _retries(self, shard: int) -> bool:
        """Return whether errors of the shard are to be retried: no process of this run has done it yet."""
        path = self.workspace.timings(self.name) / f"{shard:05d}.json"
        return bool(self.retry_before) and read_json(path).get("started", 0.0) < self.retry_before

    def _has_errors(self, shard: int) -> bool:
        return any(row["state"] == FAILED for name in self.order for row in self._valid_rows(shard, name, errors=True))

    def _is_up_to_date(self, shard: int, name: str, clips: str) -> bool:
        metadata = self._metadata(shard, name)
        if not metadata or metadata["fingerprint"] != self.fingerprints[name] or metadata["clips"] != clips:
            return False
        if metadata.get(KILLED):
            return False
        return metadata["gate"] in ("all", self._gate(name))

    def _metadata(self, shard: int, name: str) -> Row | None:
        return read_metadata(shard_path(self.workspace.scores(name), shard))

    def _clips_key(self, shard: int) -> str:
        """Return a key that changes with the shard's clips; empty if the shard is not indexed yet."""
        metadata = read_metadata(shard_path(self.workspace.index, shard))
        return metadata["key"] if metadata else ""

    def _gate(self, name: str) -> str:
        """Return a hash of what decides which clips a scorer gets: all earlier scorers and the rules on them."""
        if self.score_all:
            return "all"
        earlier = self.order[: self.order.index(name)]
        limits = [[rule.name, rule.limit(self.recipe.keep)] for s in earlier for rule in scorer_rules(s)]
        people = self.recipe.keep.people
        counting = [people.min_people, people.min_confidence, people.min_height]
        return sha256_json([[self.fingerprints[s] for s in earlier], limits, counting])

    def _valid_rows(self, shard: int, name: str, *, errors: bool) -> list[Row]:
        """Return the stored rows of a scorer made with these settings: scores and, with `errors`, clip errors."""
        metadata = self._metadata(shard, name)
        if metadata is None or metadata["fingerprint"] != self.fingerprints[name]:
            return []
        rows = read_rows(shard_path(self.workspace.scores(name), shard))
        wanted = (SCORED, FAILED) if errors else (SCORED,)
        return [row for row in rows if row["state"] in wanted and row["error"] != KILLED]

    def rows(self, shard: int) -> list[Row]:
        """Return the clips of a shard."""
        return read_rows(shard_path(self.workspace.index, shard))

    def _stored_rows(self, shard: int, clips: list[Row]) -> dict[str, dict[str, Row]]:
        """Return the valid stored rows by scorer and clip id, without clips whose files have changed."""
        stamps = {clip["clip_id"]: clip["stamp"] for clip in clips}
        return {
            name: {
                row["clip_id"]: row
                for row in self._valid_rows(shard, name, errors=not self._retries(shard))
                if stamps.get(row["clip_id"]) == row["stamp"]
            }
            for name in self.order
        }

    def tasks(self, shard: int) -> dict[int, Row]:
        """Return requests by position in the shard, for clips that are not fully scored."""
        clips = self.rows(shard)
        stored = self._stored_rows(shard, clips)
        requests = {}
        for i, clip in enumerate(clips):
            rows = {name: stored[name][clip["clip_id"]] for name in self.order if clip["clip_id"] in stored[name]}
            needed = self._needed(rows)
            if needed:
                known = {name: self._values(row, name) for name, row in rows.items()}
                requests[i] = {"task": score_task, "clip": clip, "known": known, "needed": needed,
                               "score_all": self.score_all}  # fmt: skip
        return requests

    def _values(self, row: Row, name: str) -> Row:
        return {column: row[column] for column, _ in self.columns[name]}

    def _needed(self, rows: dict[str, Row]) -> list[str]:
        """Return the scorers to run: those missing from the first gap on; none if an error or a rule ends the clip."""
        merged: Row = {}
        for i, name in enumerate(self.order):
            if name not in rows:
                return [n for n in self.order[i:] if n not in rows]
            if rows[name]["state"] == FAILED:
                return []
            merged.update(self._values(rows[name], name))
            if not self.score_all and not passes_rules(merged, name, self.recipe):
                return []
        return []

    def finish(self, shard: int, answers: dict[int, Row]) -> dict[str, int]:
        """Write the shard's files and return the numbers of clips and errors."""
        clips = self.rows(shard)
        stored = self._stored_rows(shard, clips)
        for name in self.order:
            rows = [self._row(clip, stored[name], answers.get(i), name) for i, clip in enumerate(clips)]
            schema = pa.schema([*STATE, *self.columns[name]])
            key = self._clips_key(shard)
            metadata = {"fingerprint": self.fingerprints[name], "gate": self._gate(name), "clips": key}
            if num_killed := sum(row["error"] == KILLED for row in rows):  # the next run tries these clips again
                metadata[KILLED] = num_killed
            write_rows(shard_path(self.workspace.scores(name), shard), rows, schema, metadata)
        num_failed = sum(bool(answer.get("errors") or "error" in answer) for answer in answers.values())
        return {"clips": len(answers), "errors": num_failed}

    def _row(self, clip: Row, stored: dict[str, Row], answer: Row | None, name: str) -> Row:
        head = {"clip_id": clip["clip_id"], "stamp": clip["stamp"], "state": NOT_YET, "error": "", "detail": ""}
        if answer and name in answer.get("scores", {}):
            return {**head, "state": SCORED, **answer["scores"][name]}
        error = _error_for(name, answer)
        if error:
            return {**head, "state": FAILED, "error": error[0], "detail": error[1]}
        return {**head, **stored.get(clip["clip_id"], {})}


def _error_for(name: str, answer: Row | None) -> list[str] | None:
    """Return the [code, detail] of a scorer's row; an error of the whole clip belongs to the first scorer requested."""
    if not answer:
        return None
    if "error" in answer:
        return answer["error"] if name == answer["needed"][0] else None
    return answer["errors"].get(name)


def fingerprints(scorers: list[Scorer]) -> dict[str, str]:
    """Return a hash by scorer of everything its columns depend on, including the size of the decoded frames.

    Raises:
        UserError: a model file is missing.
    """
    facts = {"length_s": 1.0, "width": 1, "height": 1, "fps": 1.0}
    hashes = {container.NAME: sha256_json(container.fingerprint())}
    for scorer in scorers:
        size = largest_size([other.frames(facts) for other in scorers if other.costly == scorer.costly])
        try:
            hashes[scorer.name] = sha256_json([scorer.fingerprint(), SIZES, size.short_side, size.long_side])
        except ItemError as error:
            raise UserError(error.detail) from error
    return hashes
