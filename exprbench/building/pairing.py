"""Pair portraits with drivers: cases from prepared inputs, a pure function of names, faces and the seed."""

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


def draw_subset(prepared: Sequence[Prepared], seed: int) -> list[Prepared]:
    """Return a random subset with at most the paper's number of inputs of each kind, in the given order."""
    kept: set[str] = set()
    for (kind, split), max_size in PAPER_SIZES.items():
        group = [p for p in prepared if (p.input.kind, p.input.split) == (kind, split)]
        kept |= {p.main for p in sorted(group, key=lambda p: _random_key(seed, p.main))[:max_size]}
    return [p for p in prepared if p.main in kept]


def make_cases(prepared: Sequence[Prepared], per_portrait: int, seed: int) -> tuple[list[Case], list[LeftOut]]:
    """Return a self case for each driver and cross cases for each portrait, and the portraits without a driver."""
    cases: list[Case] = []
    unmatched: list[LeftOut] = []
    for split in ("single", "multi"):
        in_split = [p for p in prepared if p.input.split == split]
        drivers = [p for p in in_split if p.input.kind == "driver"]
        complete = [p for p in drivers if split == "single" or p.num_driven > 1]
        own = ((p.main.removesuffix(".mp4") + ".png", p.driven, (p,)) for p in complete)
        cases += _numbered(split, "self", own)
        singles = [p for p in prepared if p.input.kind == "driver" and p.num_driven == 1]
        portraits = [p for p in in_split if p.input.kind == "portrait"]
        pairs, without_driver = _draw_pairs(portraits, complete, singles, per_portrait, seed)
        cases += _numbered(split, "cross", ((p.main, p.driven, group) for p, group in pairs))
        unmatched += without_driver
    return cases, unmatched


def _draw_pairs(
    portraits: list[Prepared], complete: list[Prepared], singles: list[Prepared], per_portrait: int, seed: int
) -> tuple[list[tuple[Prepared, Drivers]], list[LeftOut]]:
    """Return (portrait, drivers) pairs; each portrait gets the least used drivers, the seed decides between equals."""
    uses: Counter[str] = Counter()
    pairs, without_driver = [], []
    for portrait in sorted(portraits, key=lambda p: _random_key(seed, p.main)):
        used: set[str] = set()
        for _ in range(per_portrait):
            group = _choose_drivers(portrait, complete, singles, uses, used, seed)
            if not group:
                break
            uses.update(p.main for p in group)
            used |= {p.main for p in group}
            pairs.append((portrait, group))
        if per_portrait and not used:
            detail = f"no driver, or not enough of them, for {portrait.num_driven} faces of other people"
            without_driver.append(LeftOut(path=portrait.input.file_name, reason="no_driver", detail=detail))
    return sorted(pairs, key=lambda pair: (pair[0].main, [p.main for p in pair[1]])), without_driver


def _choose_drivers(
    portrait: Prepared, complete: list[Prepared], singles: list[Prepared], uses: Counter[str], used: set[str], seed: int
) -> Drivers:
    """Return one driver with the portrait's number of faces, or that number of drivers with one face each."""
    persons = set(portrait.input.persons)

    def by_use(candidates: list[Prepared]) -> list[Prepared]:
        others = [p for p in candidates if not persons & set(p.input.persons) and p.main not in used]
        return sorted(others, key=lambda p: (uses[p.main], _random_key(seed, portrait.main, p.main)))

    matching = by_use([p for p in complete if p.num_driven == portrait.num_driven])
    if matching:
        return (matching[0],)
    several = by_use(singles)[: portrait.num_driven]
    return tuple(several) if portrait.num_driven > 1 and len(several) == portrait.num_driven else ()


def _numbered(split: str, track: str, pairs: Iterator[tuple[str, tuple[bool, ...], Drivers]]) -> Iterator[Case]:
    """Yield a case for each source, its faces (whether each is driven) and its drivers."""
    for number, (source, driven, group) in enumerate(pairs, 1):
        faces = ((d, f) for d, p in enumerate(group) for f in range(p.num_driven))
        yield Case(
            case_id=f"{split}-{track}-{number:04d}",
            split=split,
            track=track,
            source=source,
            drivers=tuple(p.main for p in group),
            face_map=tuple(next(faces) if is_driven else None for is_driven in driven),
        )


def _random_key(seed: int, *names: str) -> str:
    """Return a random sort key of these names that does not depend on the machine or the version of a library."""
    return hashlib.sha256("\n".join([str(seed), *names]).encode()).hexdigest()
