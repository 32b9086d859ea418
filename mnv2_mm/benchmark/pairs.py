"""Interleaved timing: A B A B ..., so that drift of the machine hits both.

A time alone says little on a machine that does other work beside. What is
compared is the ratio within a round, in which every contestant runs once.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

#: Seconds of rest after which no thread of another contestant still waits.
PAUSE = 0.05


@dataclass
class Contestant:
    """Something to time.

    Args:
        name: As it is printed.
        prepare: Makes the thing to run; called once, not timed.
        detail: What a reader must know of it (threads, options).
    """

    name: str
    prepare: Callable[[], Callable[[], object]]
    detail: str = ''


@dataclass
class Part:
    """What is measured together, and compared.

    Args:
        title: As it is printed.
        contestants: The first is the one that the others are compared with.
        repeats: Calls within one timing, whose mean counts.
        images: Images that one call works through, for the column of
            images per second; 0 leaves it out.
        pause: Seconds before each timing, for backends whose threads wait
            actively for a while after a run.
        warmup: Calls before the first timing.
        wait: Waits for a device that works on when a call has returned.
    """

    title: str
    contestants: list[Contestant]
    repeats: int = 1
    images: int = 0
    pause: float = 0
    warmup: int = 2
    wait: Callable[[], object] = lambda: None


@dataclass
class Result:
    """Seconds of every round."""

    name: str
    detail: str
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median in milliseconds."""
        return 1000 * statistics.median(self.seconds)

    def ratios(self, base: 'Result') -> list[float]:
        """How many times faster than ``base``, round by round."""
        return [b / a for a, b in zip(self.seconds, base.seconds, strict=True)]


def measure(
    contestants: Sequence[Contestant],
    *,
    rounds: int = 7,
    warmup: int = 2,
    repeats: int = 1,
    pause: float = 0,
    wait: Callable[[], object] = lambda: None,
    say: Callable[[str], object] = lambda text: None,
) -> list[Result]:
    """Time all contestants in turn.

    Args:
        contestants: The first is the one that the others are compared with.
        rounds: How often each is timed.
        warmup: Calls before, not timed.
        repeats: Calls within one timing, whose mean counts.
        pause: Seconds of rest before each timing.
        wait: As of :class:`Part`.
        say: Gets a line about the progress.
    """
    runs = []
    for contestant in contestants:
        say(f'preparing {contestant.name}')
        run = contestant.prepare()
        for _ in range(warmup):
            run()
        runs.append(run)
    results = [Result(c.name, c.detail) for c in contestants]
    for number in range(rounds):
        say(f'round {number + 1} of {rounds}')
        for run, result in zip(runs, results, strict=True):
            if pause:
                time.sleep(pause)
            wait()
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            wait()
            elapsed = time.perf_counter() - start
            result.seconds.append(elapsed / repeats)
    return results


def table(results: Sequence[Result], images: int = 0) -> str:
    """Medians, spread, and how much faster than the first.

    Args:
        results: Of one part.
        images: As of :class:`Part`.
    """
    base = results[0]
    width = max(len(result.name) for result in results)
    rate = f'{"images/s":>10}  ' if images else ''
    lines = [
        f'{"":{width}}  {"median":>9}  {"least":>9}  {"most":>9}  {rate}'
        'times as fast as the first: median (least to most)'
    ]
    for result in results:
        least, most = (1000 * f(result.seconds) for f in (min, max))
        line = (
            f'{result.name:{width}}  {result.median:6.1f} ms  '
            f'{least:6.1f} ms  {most:6.1f} ms'
        )
        if images:
            line += f'  {1000 * images / result.median:10.0f}'
        if result is not base:
            ratios = result.ratios(base)
            line += (
                f'  {statistics.median(ratios):.2f} '
                f'({min(ratios):.2f} to {max(ratios):.2f})'
            )
        lines.append(line)
    return '\n'.join(lines)


def records(results: Sequence[Result]) -> list[dict]:
    """The same for a JSON file."""
    base = results[0]
    return [
        dict(
            name=result.name,
            detail=result.detail,
            milliseconds=[1000 * second for second in result.seconds],
            median=result.median,
            ratio=statistics.median(result.ratios(base)),
        )
        for result in results
    ]
