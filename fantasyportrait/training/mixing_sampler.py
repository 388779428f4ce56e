"""Order of training samples: sources mixed by weight, batches of one size, and a state of three numbers."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from exprbench.core.errors import UserError
from fantasyportrait.training.batches import Bucket, SampleKey
from fantasyportrait.training.draws import draw_uniform
from fantasyportrait.training.latent_cache import ExampleEntry
from fantasyportrait.training.training_config import SourceWeight


@dataclass(frozen=True, kw_only=True)
class SamplerState:
    """Position in the order of samples: `position` batches of the epoch have been used."""

    seed: int
    epoch: int = 0
    position: int = 0


class Sample(NamedTuple):
    """ExampleEntry of a store, by its index, with the key of its random draws."""

    index: int
    key: SampleKey


class MixingSampler:
    """Order of samples that depends on (seed, epoch) alone, dealt to ranks in batches.

    An epoch has as many samples as there are examples. Each source has its share of them, and takes its examples in
    random order, again from the start if there are too few. Samples are then shuffled and grouped by size. A size with
    a last batch that is not full is filled up from its first samples.

    Args:
        entries: all examples.
        weights: shares of the sources; empty for all sources in proportion to their numbers of examples.
        batch_size: samples per optimizer step, over all ranks.
        state: where to begin.
    """

    def __init__(
        self, entries: Sequence[ExampleEntry], weights: Sequence[SourceWeight], batch_size: int, state: SamplerState
    ) -> None:
        self._entries, self._batch_size, self.state = entries, batch_size, state
        self._by_source = _group_by_source(entries, weights)
        self._shares = _shares(self._by_source, weights)
        self._epoch: tuple[int, list[list[Sample]]] = (-1, [])

    def next_batch(self) -> list[Sample]:
        """Return the samples of the next step and advance the state."""
        batches = self._batches(self.state.epoch)
        batch = batches[self.state.position]
        position = self.state.position + 1
        is_last = position == len(batches)
        self.state = replace(self.state, epoch=self.state.epoch + is_last, position=0 if is_last else position)
        return batch

    @property
    def batches_per_epoch(self) -> int:
        """Return the number of batches of the current epoch."""
        return len(self._batches(self.state.epoch))

    def _batches(self, epoch: int) -> list[list[Sample]]:
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._plan(epoch))
        return self._epoch[1]

    def _plan(self, epoch: int) -> list[list[Sample]]:
        by_bucket: dict[Bucket, list[Sample]] = defaultdict(list)
        for sample in self._shuffle([s for name in self._by_source for s in self._draw(name, epoch)], epoch, "order"):
            by_bucket[self._entries[sample.index].bucket].append(sample)
        batches = [batch for samples in by_bucket.values() for batch in self._fill(samples)]
        keys = [draw_uniform(self.state.seed, str(i), epoch, "batch order") for i in range(len(batches))]
        return [batches[i] for i in sorted(range(len(batches)), key=keys.__getitem__)]

    def _draw(self, source: str, epoch: int) -> list[Sample]:
        """Return the samples of a source: whole rounds through its examples, then a part of one."""
        indices, samples, cycle = self._by_source[source], [], 0
        while len(samples) < self._shares[source]:
            keyed = [Sample(i, SampleKey(_repeat(self._entries[i].name, cycle), epoch)) for i in indices]
            samples += self._shuffle(keyed, epoch, "source order")
            cycle += 1
        return samples[: self._shares[source]]

    def _shuffle(self, samples: list[Sample], epoch: int, purpose: str) -> list[Sample]:
        return sorted(samples, key=lambda s: draw_uniform(self.state.seed, s.key.name, epoch, purpose))

    def _fill(self, samples: list[Sample]) -> list[list[Sample]]:
        missing = -len(samples) % self._batch_size
        more = [
            Sample(s.index, SampleKey(_repeat(s.key.name, 1 + i // len(samples)) + " fill", s.key.epoch))
            for i, s in ((i, samples[i % len(samples)]) for i in range(missing))
        ]
        samples = samples + more
        return [samples[i : i + self._batch_size] for i in range(0, len(samples), self._batch_size)]


def deal(batch: Sequence[Sample], rank: int, num_ranks: int) -> list[Sample]:
    """Return a rank's share of a batch: every `num_ranks`-th sample."""
    return list(batch[rank::num_ranks])


def _repeat(name: str, cycle: int) -> str:
    """Return a key for the `cycle`-th use of a sample in an epoch, so that its draws differ from the first."""
    return f"{name} x{cycle + 1}" if cycle else name


def _group_by_source(entries: Sequence[ExampleEntry], weights: Sequence[SourceWeight]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for i, entry in enumerate(entries):
        groups[entry.source].append(i)
    names = [w.name for w in weights] or sorted(groups)
    if missing := [name for name in names if name not in groups]:
        raise UserError(
            f"the data have no source {', '.join(missing)}; sources are {', '.join(sorted(groups)) or 'none'}"
        )
    return {name: groups[name] for name in names}


def _shares(groups: dict[str, list[int]], weights: Sequence[SourceWeight]) -> dict[str, int]:
    """Return the number of samples per epoch of each source; the total is the number of examples."""
    total = sum(map(len, groups.values()))
    given = {w.name: w.weight or float(len(groups[w.name])) for w in weights} if weights else {}
    if not given:
        return {name: len(indices) for name, indices in groups.items()}
    exact = {name: total * weight / sum(given.values()) for name, weight in given.items()}
    shares = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: shares[name] - exact[name])
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares
