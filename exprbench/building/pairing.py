"""Who drives whom: cases from prepared assets, a pure function of names, faces and the seed."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

from exprbench.benchmark import Case, LeftOut
from exprbench.building.assets import Prepared

PAPER_SIZES = {
    ("portrait", "single"): 200,
    ("driver", "single"): 100,
    ("portrait", "multi"): 100,
    ("driver", "multi"): 50,
}
Drivers = tuple[Prepared, ...]  # left to right


def draw_sizes(prepared: Sequence[Prepared], seed: int) -> list[Prepared]:
    """The benchmark's share of what there is: the paper's sizes, drawn where there is more, in the given order."""
    kept: set[str] = set()
    for (kind, split), most in PAPER_SIZES.items():
        group = [p for p in prepared if (p.input.kind, p.input.split) == (kind, split)]
        kept |= {p.main for p in sorted(group, key=lambda p: _ticket(seed, p.main))[:most]}
    return [p for p in prepared if p.main in kept]


def make_cases(prepared: Sequence[Prepared], per_portrait: int, seed: int) -> tuple[list[Case], list[LeftOut]]:
    """Self cases for every driver, cross cases for every portrait; and the portraits nobody can drive."""
    cases: list[Case] = []
    unmatched: list[LeftOut] = []
    for split in ("single", "multi"):
        own = [p for p in prepared if p.input.split == split]
        drivers = [p for p in own if p.input.kind == "driver"]
        wholes = [p for p in drivers if split == "single" or p.num_faces > 1]
        cases += _numbered(split, "self", ((p.main.removesuffix(".mp4") + ".png", (p,)) for p in wholes))
        singles = [p for p in prepared if p.input.kind == "driver" and p.num_faces == 1]
        portraits = [p for p in own if p.input.kind == "portrait"]
        pairs, lonely = _draw_pairs(portraits, wholes, singles, per_portrait, seed)
        cases += _numbered(split, "cross", ((portrait.main, team) for portrait, team in pairs))
        unmatched += lonely
    return cases, unmatched


def _draw_pairs(
    portraits: list[Prepared], wholes: list[Prepared], singles: list[Prepared], per_portrait: int, seed: int
) -> tuple[list[tuple[Prepared, Drivers]], list[LeftOut]]:
    """For each portrait, drivers used least so far; chance, of which the seed is the dice, decides between equals."""
    uses: Counter[str] = Counter()
    pairs, lonely = [], []
    for portrait in sorted(portraits, key=lambda p: _ticket(seed, p.main)):
        had: set[str] = set()
        for _ in range(per_portrait):
            team = _team(portrait, wholes, singles, uses, had, seed)
            if not team:
                break
            uses.update(p.main for p in team)
            had |= {p.main for p in team}
            pairs.append((portrait, team))
        if per_portrait and not had:
            detail = f"no driver, or not enough of them, for {portrait.num_faces} faces of other people"
            lonely.append(LeftOut(path=portrait.input.path.name, reason="no_driver", detail=detail))
    return sorted(pairs, key=lambda pair: (pair[0].main, [p.main for p in pair[1]])), lonely


def _team(
    portrait: Prepared, wholes: list[Prepared], singles: list[Prepared], uses: Counter[str], had: set[str], seed: int
) -> Drivers:
    """One driver with as many faces as the portrait, else as many drivers of one face."""
    persons = set(portrait.input.persons)

    def by_use(candidates: list[Prepared]) -> list[Prepared]:
        others = [p for p in candidates if not persons & set(p.input.persons) and p.main not in had]
        return sorted(others, key=lambda p: (uses[p.main], _ticket(seed, portrait.main, p.main)))

    whole = by_use([p for p in wholes if p.num_faces == portrait.num_faces])
    if whole:
        return (whole[0],)
    several = by_use(singles)[: portrait.num_faces]
    return tuple(several) if portrait.num_faces > 1 and len(several) == portrait.num_faces else ()


def _numbered(split: str, track: str, pairs: Iterator[tuple[str, Drivers]]) -> Iterator[Case]:
    for number, (source, team) in enumerate(pairs, 1):
        yield Case(
            case_id=f"{split}-{track}-{number:04d}",
            split=split,
            track=track,
            source=source,
            drivers=tuple(p.main for p in team),
            face_map=tuple((d, f) for d, p in enumerate(team) for f in range(p.num_faces)),
        )


def _ticket(seed: int, *names: str) -> str:
    """A number drawn for these names: the same on every machine and in every version of every library."""
    return hashlib.sha256("\n".join([str(seed), *names]).encode()).hexdigest()
