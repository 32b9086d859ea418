"""The module that mmcv takes its ops from."""

import pytest

from mnv2_mm import ops
from mnv2_mm.utils.errors import InputError


def test_every_op_that_mmcv_asks_for_is_there_and_says_how_to_get_it():
    deform_conv = ops.deform_conv_forward
    with pytest.raises(InputError, match=r'deform_conv_forward .*--compile-ops'):
        deform_conv(1, weight=2)
    assert not hasattr(ops, '__path_of_no_module__')


def test_what_mmcv_reports_about_its_compiler():
    assert 'stand-ins' in ops.get_compiler_version()
    # as mmcv's ops without CUDA, which mmdeploy and mmengine compare
    assert ops.get_compiling_cuda_version() == 'not available'
