"""Which files each trial shows, and the trials with a known answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from exprbench.benchmark import Benchmark, Case
from exprbench.core.errors import ItemError
from exprbench.scoring.prediction_files import find_prediction
from exprbench.study.design import random_key
from exprbench.study.questions import MAX_SCORE
from exprbench.study.stimuli import TRAP_S, Stimulus
from exprbench.study.study_key import HIGH, LOW, TRAP, Trial, hidden_name


@dataclass(frozen=True, kw_only=True)
class TrialMedia:
    """Files of one trial: a source image, driving videos, and one or two results; a trap has results only."""

    source: Stimulus | None = None
    drivers: tuple[Stimulus, ...] = ()
    results: tuple[Stimulus, ...]

    @property
    def all(self) -> list[Stimulus]:
        """Return all files."""
        return [*([self.source] if self.source else []), *self.drivers, *self.results]


@dataclass(frozen=True, kw_only=True)
class Media:
    """Maps trials to files.

    Attributes:
        predictions: method -> folder of its videos.
        secret: secret of the file names.
    """

    bench: Benchmark
    predictions: Mapping[str, Path]
    secret: str

    def of(self, trial: Trial) -> TrialMedia:
        """Return the files of a trial.

        Raises:
            ItemError: a method has no video of the case.
        """
        sides = [side for side in (trial.left, trial.right) if side]
        if trial.kind == "trap":
            return TrialMedia(results=tuple(self._trap(trial) for _ in sides))
        case = next(c for c in self.bench.cases if c.case_id == trial.case_id)
        if trial.kind in ("gold", "practice"):
            return self._known(trial, case, sides)
        return TrialMedia(
            source=self._source(case.source),
            drivers=tuple(self._driver(driver, case) for driver in case.drivers),
            results=tuple(self._result(case, method) for method in sides),
        )

    def _name(self, suffix: str, *parts: str) -> str:
        return hidden_name(self.secret, "media", *parts) + suffix

    def _duration_s(self, drivers: Sequence[str]) -> float:
        return min(self.bench.assets[driver].num_frames for driver in drivers) / self.bench.fps

    def _source(self, path: str) -> Stimulus:
        return Stimulus(kind="source", name=self._name(".png", "source", path), path=self.bench.path(path))

    def _video(self, kind: Literal["driver", "low"], role: str, driver: str, duration_s: float) -> Stimulus:
        name = self._name(".mp4", role, driver, f"{duration_s:.6f}")
        path = self.bench.path(driver)
        return Stimulus(kind=kind, name=name, path=path, fps=self.bench.fps, duration_s=duration_s)

    def _driver(self, driver: str, case: Case) -> Stimulus:
        return self._video("driver", "driver", driver, self._duration_s(case.drivers))

    def _result(self, case: Case, method: str) -> Stimulus:
        return Stimulus(
            kind="result",
            name=self._name(".mp4", "result", case.case_id, method),
            path=find_prediction(self.predictions[method], case),
            fps=self.bench.fps,
            duration_s=self._duration_s(case.drivers),
        )

    def _known(self, trial: Trial, case: Case, sides: Sequence[str]) -> TrialMedia:
        """Return a trial whose result is the driving video itself, or a degraded copy of it."""
        driver = case.drivers[0]
        duration_s = self._duration_s([driver])
        return TrialMedia(
            source=self._source(driver.removesuffix(".mp4") + ".png"),
            drivers=(self._video("driver", "driver", driver, duration_s),),
            results=tuple(
                self._video("low" if side == LOW else "driver", f"{trial.kind} {side}", driver, duration_s)
                for side in sides
            ),
        )

    def _trap(self, trial: Trial) -> Stimulus:
        answer = ("the left result", "the right result")[trial.expected] if trial.right else str(trial.expected)
        text = f"This is an attention check.\nPlease choose {answer}\nin every row."
        return Stimulus(kind="trap", name=self._name(".mp4", "trap", trial.case_id), text=text, duration_s=TRAP_S)


def known_trials(cases: Sequence[Case], mode: str, num_gold: int, num_traps: int, seed: int) -> list[Trial]:
    """Return the gold trials, at most two per case, and the traps."""
    drawn = sorted(cases, key=lambda c: random_key(seed, "gold", c.case_id))
    halves = [(LOW, HIGH), (HIGH, LOW)]
    first = [_known(case, "gold", halves[i % 2], mode) for i, case in enumerate(drawn)]
    second = [_known(case, "gold", halves[(i + 1) % 2], mode) for i, case in enumerate(drawn)]
    traps = [
        Trial(
            kind="trap",
            case_id=f"trap-{i}",
            left=TRAP,
            right=TRAP if mode == "pairs" else "",
            expected=int(random_key(seed, "trap", i), 16) % (2 if mode == "pairs" else MAX_SCORE + 1),
        )
        for i in range(num_traps)
    ]
    return [*[*first, *second][:num_gold], *traps]


def practice_trials(cases: Sequence[Case], mode: str, seed: int) -> list[Trial]:
    """Return the practice trials, which show both ends of the scale."""
    case = min(cases, key=lambda c: random_key(seed, "practice", c.case_id))
    sides = [(HIGH, LOW)] if mode == "pairs" else [(HIGH, LOW), (LOW, HIGH)]
    return [_known(case, "practice", pair, mode) for pair in sides]


def _known(case: Case, kind: Literal["gold", "practice"], sides: tuple[str, str], mode: str) -> Trial:
    right = sides[1] if mode == "pairs" else ""
    return Trial(kind=kind, case_id=case.case_id, split=case.split, left=sides[0], right=right)


def missing_results(media: Media, case: Case) -> str:
    """Return why a case cannot be shown, empty if every method has a video of it."""
    for method, folder in media.predictions.items():
        try:
            find_prediction(folder, case)
        except ItemError as error:
            return f"{method}: {error}"
    return ""
