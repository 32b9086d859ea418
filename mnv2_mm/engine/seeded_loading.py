"""Load every sample with random numbers of its own, wherever a training was started.

mmengine seeds each data-loader worker once. What a worker draws then depends on the
number of workers and on what they loaded before, and no checkpoint can hold that: the
workers are batches ahead of it. Here a sample seeds the generators by its place in the
training, so that no stream has to be stored. Nothing in the hosts or in torch does so.
"""

import itertools
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import DataLoader

TrainLoop = EpochBasedTrainLoop | IterBasedTrainLoop


def seed_generators(*place: int) -> None:
    """Seed Python, numpy and torch (on the CPU) by a hash of non-negative integers."""
    seeds = np.random.SeedSequence(place).generate_state(3)
    for seed, function in zip(
        seeds.tolist(),
        (random.seed, np.random.seed, torch.default_generator.manual_seed),
        strict=True,
    ):
        function(seed)


class _Item(NamedTuple):
    """Index of a sample, and the numbers that seed it."""

    index: Any
    place: tuple[int, ...]


class _Wrapper:
    """In everything but its methods the thing that it wraps."""

    def __init__(self, wrapped: Any) -> None:
        self.__dict__['wrapped'] = wrapped

    def __len__(self) -> int:
        return len(self.wrapped)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # protocols, as of pickle
            raise AttributeError(name)
        return getattr(self.__dict__['wrapped'], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.wrapped, name, value)


class SeededDataset(_Wrapper):
    """A data set that seeds the generators before it loads a sample."""

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, _Item):
            seed_generators(*item.place)
            item = item.index
        return self.wrapped[item]

    def __reduce__(self) -> tuple:
        return SeededDataset, (self.wrapped,)


class SeededBatches(_Wrapper):
    """The batches of a loader from the iteration of its loop on, with seeds.

    Earlier batches are passed over without loading them.
    """

    def __init__(self, batches: Any, loop: TrainLoop, seed: int) -> None:
        super().__init__(batches)
        self.__dict__.update(loop=loop, seed=seed)

    def __iter__(self) -> Iterator[list[_Item]]:
        done, first = self.loop.iter, 0
        stream = self._endless()
        if isinstance(self.loop, EpochBasedTrainLoop):
            stream = iter(self.wrapped)
            first = self.loop.epoch * len(self)
            # at its end nothing is left of the epoch
            if not first <= done <= first + len(self):
                first = done  # it was counted with another number of processes
        prefix = (1, self.seed, get_rank())
        for iteration, batch in enumerate(stream, first):
            if iteration >= done:
                yield [_Item(i, (*prefix, iteration, n)) for n, i in enumerate(batch)]

    def _endless(self) -> Iterator[list]:
        """Epoch after epoch; a sampler for loops by iteration has only one."""
        sampler = self.wrapped.sampler
        if hasattr(sampler, '_indices_of_rank'):
            # the stream that mmengine's iterator may have begun
            sampler.indices = sampler._indices_of_rank()
        for cycle in itertools.count() if len(self) else ():
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(cycle)
            yield from self.wrapped


class _Stream:
    """What a loop by iteration reads: one pass over an endless loader."""

    def __init__(self, loader: DataLoader, *, ignored: int) -> None:
        self._loader = loader
        self._ignored = ignored
        self._iterator: Iterator | None = None

    def skip_iter(self, num_iters: int) -> None:
        """Nothing: the batches are passed over already."""

    def __next__(self) -> Any:
        if self._ignored:
            self._ignored -= 1
            return None
        if self._iterator is None:
            self._iterator = iter(self._loader)
        return next(self._iterator)


def seed_loader(loop: TrainLoop, seed: int) -> None:
    """Let the loader of a train loop, whose iteration is set, load seeded samples."""
    loader = loop.dataloader
    # torch forbids to assign them, since a running iterator would not notice
    loader.__dict__.update(
        dataset=SeededDataset(loader.dataset),
        batch_sampler=SeededBatches(loader.batch_sampler, loop, seed),
    )
    loader._iterator = None
    if isinstance(loop, IterBasedTrainLoop):
        # upstream mmengine loads what it skips; the continuation calls skip_iter
        by_loading = not hasattr(loop.dataloader_iterator, 'skip_iter')
        loop.dataloader_iterator = _Stream(
            loader, ignored=loop.iter if by_loading else 0
        )
