"""Pairs of portraits and drivers as a function of names, faces and the seed, without files."""

from collections import Counter
from pathlib import Path

import pytest

from exprbench.benchmark import Asset
from exprbench.building.assets import Prepared
from exprbench.building.pairing import draw_subset, make_cases
from exprbench.building.source_files import Input


def made(kind, name, *, faces=1, split="single", persons=None):
    """A portrait or a driver with a number of faces."""
    ending = {"portrait": ".png", "driver": ".mp4"}[kind]
    main = f"{kind}/{name}{ending}"
    item = Input(
        path=Path(f"{name}{ending}"), kind=kind, split=split, name=name, persons=tuple(persons or [f"{kind} {name}"])
    )
    asset = Asset(kind=kind, split=split, sha256=name, num_bytes=1, num_faces=faces)
    return Prepared(input=item, main=main, assets={main: asset}, driven=(True,) * faces)


def many(kind, count, **options):
    return [made(kind, f"{options.get('split', 'single')}{i:03d}", **options) for i in range(count)]


def cross(prepared, per_portrait=1, seed=0):
    cases, left_out = make_cases(prepared, per_portrait, seed)
    return [c for c in cases if c.track == "cross"], left_out


def uses(cases):
    return Counter(driver for case in cases for driver in case.drivers)


@pytest.mark.parametrize("per_portrait", [1, 2, 3])
def test_every_driver_is_used_equally_often(per_portrait):
    cases, _ = cross(many("portrait", 12) + many("driver", 4), per_portrait)
    assert len(cases) == 12 * per_portrait
    assert set(uses(cases).values()) == {3 * per_portrait}
    assert len({(case.source, case.drivers) for case in cases}) == len(cases)


def test_drivers_that_are_combined_are_used_equally_often():
    cases, _ = cross(many("portrait", 6, faces=2, split="multi") + many("driver", 4))
    assert {len(set(case.drivers)) for case in cases} == {2}
    assert set(uses(cases).values()) == {3}


def test_the_seed_draws_the_pairs():
    prepared = many("portrait", 8) + many("driver", 8)
    pairs = {seed: [(c.source, c.drivers) for c in cross(prepared, seed=seed)[0]] for seed in range(4)}
    assert pairs[0] == [(c.source, c.drivers) for c in cross(prepared, seed=0)[0]]
    assert len({tuple(p) for p in pairs.values()}) == 4


def test_pairs_are_drawn_for_each_portrait():
    """The order of the drivers differs between portraits."""
    first = [cross([made("portrait", name), *many("driver", 5)])[0][0].drivers for name in "abcdefgh"]
    assert len(set(first)) > 1


def test_sizes_are_the_papers_and_drawn_by_the_seed():
    groups = [many("portrait", 203), many("driver", 102), many("portrait", 101, split="multi", faces=2)]
    everything = [item for group in (*groups, many("driver", 55, split="multi", faces=2)) for item in group]
    kept = {seed: draw_subset(everything, seed) for seed in range(3)}
    for some in kept.values():
        sizes = Counter((p.input.kind, p.input.split) for p in some)
        assert sizes == {
            ("portrait", "single"): 200,
            ("driver", "single"): 100,
            ("portrait", "multi"): 100,
            ("driver", "multi"): 50,
        }
        assert [p.main for p in some] == [p.main for p in everything if p in some]
    assert len({tuple(p.main for p in some) for some in kept.values()}) == 3
    assert draw_subset(everything[:200], 0) == everything[:200]


def test_people_never_drive_their_own_portrait():
    portraits = [
        made("portrait", "ada", persons=["Ada"]),
        made("portrait", "two", faces=2, split="multi", persons=["Bo", "Cy"]),
    ]
    drivers = [made("driver", name.lower(), persons=[name]) for name in ("Ada", "Bo", "Cy", "Dee", "Eve")]
    duo = made("driver", "duo", faces=2, split="multi", persons=["Cy", "Flo"])
    cases, _ = cross([*portraits, *drivers, duo], per_portrait=9)
    by_source = {case.source: set() for case in cases}
    for case in cases:
        by_source[case.source] |= set(case.drivers)
    assert by_source["portrait/ada.png"] == {f"driver/{n}.mp4" for n in ("bo", "cy", "dee", "eve")}
    assert by_source["portrait/two.png"] <= {f"driver/{n}.mp4" for n in ("ada", "dee", "eve")}


def test_a_driver_with_the_same_number_of_faces_is_preferred_to_several():
    portrait = made("portrait", "three", faces=3, split="multi")
    prepared = [portrait, made("driver", "trio", faces=3, split="multi"), *many("driver", 3)]
    ((whole,), _) = cross(prepared)
    assert (whole.drivers, whole.face_map) == (("driver/trio.mp4",), ((0, 0), (0, 1), (0, 2)))
    (several,) = (case for case in cross(prepared, per_portrait=2)[0] if case.drivers != whole.drivers)
    assert len(set(several.drivers)) == 3
    assert several.face_map == ((0, 0), (1, 0), (2, 0))


def test_portraits_without_a_driver_are_listed():
    alone = made("portrait", "alone", persons=["Ada"])
    crowd = made("portrait", "crowd", faces=4, split="multi")
    drivers = [made("driver", "a", persons=["Ada"]), made("driver", "b", persons=["Ada"])]
    cases, left_out = cross([alone, crowd, *drivers])
    assert cases == []
    assert {(item.path, item.reason) for item in left_out} == {("alone.png", "no_driver"), ("crowd.png", "no_driver")}
    assert cross([alone, *drivers], per_portrait=0) == ([], [])


def test_portraits_with_too_few_drivers_get_the_available_ones():
    cases, left_out = cross([made("portrait", "a"), *many("driver", 2)], per_portrait=5)
    assert (len(cases), left_out) == (2, [])


def test_self_cases_are_of_whole_drivers_in_order():
    prepared = [
        *many("driver", 2),
        made("driver", "duo", faces=2, split="multi"),
        made("driver", "one", split="multi"),
    ]
    cases, _ = make_cases(prepared, 1, 0)
    assert [(c.case_id, c.source, c.drivers, c.face_map) for c in cases] == [
        ("single-self-0001", "driver/single000.png", ("driver/single000.mp4",), ((0, 0),)),
        ("single-self-0002", "driver/single001.png", ("driver/single001.mp4",), ((0, 0),)),
        ("multi-self-0001", "driver/duo.png", ("driver/duo.mp4",), ((0, 0), (0, 1))),
    ]


def test_cross_cases_are_numbered_in_the_order_of_their_portraits():
    cases, _ = cross(many("portrait", 5) + many("driver", 3), per_portrait=2)
    assert [c.case_id for c in cases] == [f"single-cross-{i:04d}" for i in range(1, 11)]
    assert [(c.source, c.drivers) for c in cases] == sorted((c.source, c.drivers) for c in cases)
