"""Property-based fuzzing: a short form in every run, a long one by ``-m fuzz``.

A test here takes the fixture ``fuzz`` and gives it a check and a strategy::

    def test_reader(fuzz, tmp_path):
        def check(content): ...  # raises for a defect

        fuzz(check, st.binary())

The short form runs the same examples each time. The long one draws new ones until its
time is up: two minutes a module, shared by the tests in it.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import SearchStrategy

EXAMPLES = {False: 30, True: 200}  # in one round
SECONDS = 120  # a module, long form
#: For one example; a file that takes more memory or time is a defect.
GIGABYTE, MILLISECONDS = 1 << 30, 10_000


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, before ``-m`` selects."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker('fuzz')


@pytest.fixture
def fuzz(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Run a check on examples of a strategy, within memory and time."""
    long = 'fuzz' in request.config.option.markexpr
    sharing = [i for i in request.session.items if i.path == request.path]

    def run(check: Callable[[Any], None], examples: SearchStrategy) -> None:
        options = settings(
            max_examples=EXAMPLES[long],
            deadline=MILLISECONDS,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        before = _peak()
        start, number = time.monotonic(), 0
        while True:
            # a new function for each round
            seed(number)(options(given(examples)(lambda example: check(example))))()
            number += 1
            if not long or time.monotonic() - start > SECONDS / len(sharing):
                break
        assert _peak() - before < GIGABYTE

    return run


def _peak() -> int:
    """Most memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
