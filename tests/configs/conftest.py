"""A foreign default scope for all config tests."""

from collections.abc import Iterator

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def _foreign_scope() -> Iterator[None]:
    """The model's own ``_scope_`` must be enough to build it."""
    with DefaultScope.overwrite_default_scope('mmengine'):
        yield
