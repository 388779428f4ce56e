"""The design of a study: who sees what, in which order. Pure functions of names and the seed.

Draws are made by hashes, as in `exprbench.building.pairing`, so they do not depend on a library's version.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

from exprbench.benchmark import Case
from exprbench.study.study_key import Trial

VOTES = 5  # ratings per video that P.910's crowdsourcing toolkit aims at

Pick = tuple[Case, tuple[str, ...]]  # a case and the methods of one trial: one method, or a pair


def random_key(*names: object) -> str:
    """Return a random sort key of these names."""
    return hashlib.sha256("\n".join(map(str, names)).encode()).hexdigest()


def conditions_of(methods: Sequence[str], mode: str) -> list[tuple[str, ...]]:
    """Return what is shown of each case: every method, or every pair of methods."""
    return list(combinations(methods, 2)) if mode == "pairs" else [(method,) for method in methods]


def draw_cases(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """Return `count` random cases, evenly from the splits, in the given order."""
    ranks: dict[str, int] = {}
    seen: Counter[str] = Counter()
    for case in sorted(cases, key=lambda c: random_key(seed, "case", c.case_id)):
        ranks[case.case_id] = seen[case.split]
        seen[case.split] += 1
    kept = {c.case_id for c in sorted(cases, key=lambda c: (ranks[c.case_id], c.split))[:count]}
    return [case for case in cases if case.case_id in kept]


def num_cases_for(num_conditions: int, num_raters: int, per_rater: int) -> int:
    """Return the number of cases at which every video gets `VOTES` ratings, but enough for `per_rater` trials."""
    return max(num_raters * per_rater // (VOTES * num_conditions), -(-per_rater // num_conditions))


def assign(
    cases: Sequence[Case], conditions: Sequence[tuple[str, ...]], num_raters: int, per_rater: int, seed: int
) -> list[list[Pick]]:
    """Return the scored trials of each rater, balanced.

    Each rater gets every condition equally often, every stimulus gets as many raters as the others (both differ by one
    at most), and cases repeat for a rater as rarely as possible.
    """
    picks: list[Pick] = [(case, condition) for case in cases for condition in conditions]
    votes: Counter[object] = Counter()  # of conditions and of stimuli, over all raters
    return [_assign_one(picks, votes, min(per_rater, len(picks)), (seed, rater)) for rater in range(num_raters)]


def _assign_one(picks: list[Pick], votes: Counter, count: int, salt: tuple[int, int]) -> list[Pick]:
    draw = {(case.case_id, methods): random_key(*salt, case.case_id, *methods) for case, methods in picks}
    uses: Counter[object] = Counter()  # of conditions and of cases by this rater
    remaining, chosen = list(picks), []

    def cost(pick: Pick) -> tuple:
        case, methods = pick
        stimulus = case.case_id, methods
        return uses[methods], votes[methods], votes[stimulus], uses[case.case_id], draw[stimulus]

    for _ in range(count):
        case, methods = pick = min(remaining, key=cost)
        remaining.remove(pick)
        chosen.append(pick)
        uses.update([methods, case.case_id])
        votes.update([methods, (case.case_id, methods)])
    return chosen


def orient(assignments: Sequence[Sequence[Pick]], seed: int) -> list[list[Trial]]:
    """Return the trials of each rater; each pair of methods is shown equally often (±1) either way round."""
    shown: Counter[tuple[str, ...]] = Counter()
    trials: list[list[Trial]] = []
    for picks in assignments:
        trials.append([])
        for case, methods in picks:
            trials[-1].append(_trial(case, methods, shown[methods], seed))
            shown[methods] += 1
    return trials


def _trial(case: Case, methods: tuple[str, ...], turn: int, seed: int) -> Trial:
    flip = (turn + int(random_key(seed, *methods), 16)) % 2
    sides = methods[::-1] if flip else methods
    return Trial(kind="scored", case_id=case.case_id, split=case.split, left=sides[0], right="".join(sides[1:]))


def order(trials: Sequence[Trial], extra: Sequence[Trial], num_repeats: int, salt: tuple[int, int]) -> list[Trial]:
    """Return the trials of a rater in random order, without two neighbours from one source where possible.

    Args:
        trials: scored trials.
        extra: gold trials and traps.
        num_repeats: number of scored trials of the first third that are repeated in the last third.
        salt: seed and number of the rater.
    """
    ordered = _spread([*trials, *extra], lambda t: random_key(*salt, "order", t.kind, t.case_id, t.left, t.right))
    third = -(-len(ordered) // 3)
    early = [trial for trial in ordered[:third] if trial.kind == "scored"]
    for i, trial in enumerate(early[:num_repeats]):
        place = _free_place(ordered, trial.case_id, 2 * third, random_key(*salt, "repeat", i))
        ordered.insert(place, replace(trial, kind="repeat"))
    return ordered


def _spread(trials: Sequence[Trial], key: Callable[[Trial], str]) -> list[Trial]:
    """Return the trials in the order of their keys, rearranged so that neighbours have different cases."""
    remaining, ordered = sorted(trials, key=key), []
    while remaining:
        previous = ordered[-1].case_id if ordered else None
        case_id, count = Counter(t.case_id for t in remaining).most_common(1)[0]
        must = case_id if 2 * count > len(remaining) else None  # later it could not be separated any more
        others = [t for t in remaining if t.case_id != previous and must in (None, t.case_id)]
        chosen = (others or [t for t in remaining if t.case_id != previous] or remaining)[0]
        remaining.remove(chosen)
        ordered.append(chosen)
    return ordered


def _free_place(ordered: Sequence[Trial], case_id: str, start: int, key: str) -> int:
    """Return a random position from `start` on where both neighbours have another case; the end if there is none."""
    padded = [None, *(t.case_id for t in ordered), None]
    places = [i for i in range(start, len(ordered) + 1) if case_id not in padded[i : i + 2]]
    return places[int(key, 16) % len(places)] if places else len(ordered)
