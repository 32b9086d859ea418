import pytest

from mnv2_mm.utils.mmcv_ops import ops_kind


@pytest.fixture
def compiled():
    """mmcv's compiled ops."""
    if ops_kind() != 'compiled':
        pytest.skip('mmcv has no compiled ops here; .ci/run has them in a second step')
    from mmcv import _ext

    return _ext
