from itertools import combinations

import numpy as np
import pytest

from exprbench.toy_benchmark.cast import CAST, random_character
from exprbench.toy_benchmark.clothes import STYLES as CLOTHES
from exprbench.toy_benchmark.hair import STYLES as HAIR
from exprbench.toy_benchmark.scene import portrait


def test_the_cast_is_clearly_different_people():
    assert len({p.name for p in CAST}) == len(CAST) >= 4
    pictures = [portrait(p, (96, 96))[0].astype(float) for p in CAST]
    for a, b in combinations(pictures, 2):
        assert np.abs(a - b).mean() > 10


def test_inventing_is_repeatable_and_varied():
    people = [random_character(seed) for seed in range(40)]
    assert people == [random_character(seed) for seed in range(40)]
    assert {p.hair_style for p in people} == set(HAIR)
    assert {p.clothes for p in people} == set(CLOTHES)
    assert len(set(people)) == 40


@pytest.mark.parametrize("seed", range(0, 40, 3))
def test_everybody_invented_can_be_drawn(seed):
    picture, tracks = portrait(random_character(seed), (96, 96))
    assert picture.std() > 20
    assert (tracks.tracks[0].landmarks[..., :2] > 0).all()
    assert (tracks.tracks[0].landmarks[..., :2] < 1).all()
