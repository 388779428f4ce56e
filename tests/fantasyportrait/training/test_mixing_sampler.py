"""Order of samples: a pure function of seed and epoch, shared by ranks, resumed at the next batch."""

from collections import Counter

import pytest

from exprbench.core.errors import UserError
from fantasyportrait.training.latent_cache import ExampleEntry
from fantasyportrait.training.mixing_sampler import MixingSampler, SamplerState, deal
from fantasyportrait.training.training_config import SourceWeight

SMALL, WIDE = (3, 8, 8), (3, 8, 12)
ENTRIES = [ExampleEntry(f"a/{i}", "a", SMALL) for i in range(12)] + [
    ExampleEntry(f"b/{i}", "b", WIDE) for i in range(4)
]


def sampler(batch_size=4, entries=ENTRIES, weights=(), **state):
    return MixingSampler(entries, weights, batch_size, SamplerState(**{"seed": 0, **state}))


def epoch(made):
    return [made.next_batch() for _ in range(made.batches_per_epoch)]


def test_an_epoch_has_every_example_once_in_batches_of_one_size():
    batches = epoch(sampler())
    assert sorted(s.index for batch in batches for s in batch) == list(range(16))
    assert all(len({ENTRIES[s.index].bucket for s in batch}) == 1 for batch in batches)
    assert {len(batch) for batch in batches} == {4}


def test_epochs_and_seeds_have_other_orders_and_draws():
    made = sampler()
    first, second = epoch(made), epoch(made)
    assert made.state == SamplerState(seed=0, epoch=2)
    assert [s.index for b in first for s in b] != [s.index for b in second for s in b]
    assert {s.key.epoch for b in second for s in b} == {1}
    assert first == epoch(sampler())
    assert first != epoch(sampler(seed=1))


def test_a_resumed_run_goes_on_at_the_very_next_batch():
    made = sampler(batch_size=3)
    whole = [made.next_batch() for _ in range(15)]
    for stop in range(15):
        other = sampler(batch_size=3)
        for _ in range(stop):
            other.next_batch()
        resumed = sampler(batch_size=3, epoch=other.state.epoch, position=other.state.position)
        assert [resumed.next_batch() for _ in range(15 - stop)] == whole[stop:]


def test_a_batch_that_is_not_full_is_filled_with_other_draws():
    batches = epoch(sampler(batch_size=5))
    assert Counter(map(len, batches)) == {5: 4}  # 12 are three batches, 4 are one
    keys = [s.key.name for b in batches for s in b]
    assert len(set(keys)) == len(keys)
    few = epoch(sampler(batch_size=8, entries=ENTRIES[:3]))
    assert len({s.key.name for s in few[0]}) == 8
    assert Counter(s.index for s in few[0]).most_common()[-1][1] >= 2


@pytest.mark.parametrize(
    ("weights", "shares"),
    [((1, 1), (8, 8)), ((3, 1), (12, 4)), ((1, 3), (4, 12)), ((0, 0), (12, 4)), ((0, 6), (11, 5))],
)
def test_sources_are_mixed_by_weight(weights, shares):
    given = tuple(SourceWeight(name=n, weight=float(w)) for n, w in zip("ab", weights, strict=True))
    batches = epoch(sampler(batch_size=1, weights=given))
    counted = Counter(ENTRIES[s.index].source for b in batches for s in b)
    assert (counted["a"], counted["b"]) == shares
    keys = [s.key.name for b in batches for s in b]
    assert len(set(keys)) == len(keys)
    uses = Counter(s.index for b in batches for s in b if ENTRIES[s.index].source == "b")
    assert max(uses.values()) - min(uses.get(i, 0) for i in range(12, 16)) <= 1  # whole rounds


def test_sources_can_be_left_out_and_unknown_ones_are_refused():
    only = epoch(sampler(weights=(SourceWeight(name="b"),)))
    assert {ENTRIES[s.index].source for b in only for s in b} == {"b"}
    with pytest.raises(UserError, match="the data have no source c; sources are a, b"):
        sampler(weights=(SourceWeight(name="c"),))


def test_ranks_share_a_batch_evenly():
    batch = sampler().next_batch()
    shares = [deal(batch, rank, 2) for rank in range(2)]
    assert sorted(s for share in shares for s in share) == sorted(batch)
    assert {len(share) for share in shares} == {2}
