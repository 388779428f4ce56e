"""A short run of the fuzzer; `python -m tests.fuzz --variants 2000` is the long one."""

import random

from tests.fuzz.damage import DAMAGES, damaged
from tests.fuzz.fuzzing import fuzz

NUM_VARIANTS = 60


def test_damaged_files_end_in_frames_or_a_named_error():
    findings = fuzz(NUM_VARIANTS, seed=1)
    assert findings.faults == []
    assert findings.ends["frames"] > 10
    assert len(findings.ends) > 3  # the damage is neither harmless nor of one kind


def test_the_same_seed_gives_the_same_damage():
    data = bytes(range(256)) * 20
    assert damaged(data, random.Random("3-1")) == damaged(data, random.Random("3-1"))
    assert damaged(data, random.Random("3-1")) != damaged(data, random.Random("3-2"))


def test_every_kind_of_damage_changes_a_file():
    data = bytes(range(256)) * 20
    for damage in DAMAGES:
        assert any(damage(bytearray(data), random.Random(seed)) != data for seed in range(5)), damage.__name__
