"""Patches of mmdeploy 1.3.1 (December 2023), and the check that it is there.

Nothing outside of this file touches mmdeploy's internals. :func:`patch` is
called once, when :mod:`mnv2_mm.deploy` is imported.
"""

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Mapping

from mnv2_mm.utils import compat
from mnv2_mm.utils.deploy_check import MMDEPLOY, REQUIRED
from mnv2_mm.utils.errors import InputError


def is_installed() -> bool:
    """Whether mmdeploy and what an export needs are installed."""
    supported = compat.version_of('mmdeploy') == MMDEPLOY
    return supported and all(map(compat.installed, REQUIRED))


def require() -> None:
    """Check that models can be exported here.

    Raises:
        InputError: mmdeploy is missing or of another version, or another
            package is missing; the message has the command to run.
    """
    version = compat.version_of('mmdeploy')
    if version != MMDEPLOY:
        found = f'mmdeploy is {version}' if version else 'mmdeploy is missing'
        raise InputError(
            f'{found}, {MMDEPLOY} is needed: pip install --no-deps '
            f'mmdeploy=={MMDEPLOY} (its dependencies would replace half of '
            'the environment); see `python -m mnv2_mm.check --deploy`'
        )
    for name in REQUIRED:
        if not compat.installed(name):
            raise InputError(
                f'{name} is missing, and the export needs it: pip install '
                f'{name}; see `python -m mnv2_mm.check --deploy`'
            )


def patch() -> None:
    """Import mmdeploy and patch it in this process."""
    import mmdeploy.backend.ncnn
    import mmdeploy.backend.onnxruntime
    import mmdeploy.pytorch.functions

    with contextlib.suppress(Exception):  # may fail with TensorRT 11
        import mmdeploy.backend.tensorrt  # noqa: F401
    patch_wrapped_functions()
    patch_exporter()
    patch_device_check()
    patch_backend_managers()
    patch_ncnn_rewriters()


def patch_wrapped_functions() -> None:
    """Let mmdeploy read the table of functions that torch.fx wraps.

    The table was a list and is a dict now; unpatched, every export ends with
    ``KeyError: -1``.
    """
    from mmdeploy.core.rewriters import function_rewriter as module

    table = module._wrapped_fns_to_patch
    original = module.FunctionRewriter.exit
    if not isinstance(table, dict):
        return

    @functools.wraps(original)
    def leave(self: module.FunctionRewriter) -> None:
        while len(table) > self._ori_fx_wrap_num:
            table.popitem()  # the last ones, which entering has added
        original(self)

    def wrap_copy(func: Callable, copied: Callable) -> None:
        """Wrap for torch.fx in the copy what is wrapped in the original."""
        own = getattr(func, '__globals__', None)
        names = [key[1] for key, value in table.items() if value is own]
        for name in names if own is not None else ():
            table[id(copied.__globals__), name] = copied.__globals__

    module.FunctionRewriter.exit = leave
    module._fx_wrap_copied_fn = wrap_copy


def patch_exporter() -> None:
    """Export by tracing, which mmdeploy's rewriters are written for.

    ``torch.onnx.export`` uses torch.export by default since torch 2.9. It is
    replaced only while mmdeploy exports a model.
    """
    import torch
    from mmdeploy.core import FUNCTION_REWRITER

    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        register = FUNCTION_REWRITER.register_rewriter('torch.onnx.export')
        register(export_by_tracing)


def export_by_tracing(*args: object, **kwargs: object) -> object:
    """``torch.onnx.export`` with the exporter that was used before 2.9."""
    from mmdeploy.core import FUNCTION_REWRITER
    from torch.jit import TracerWarning

    ctx = FUNCTION_REWRITER.get_context()
    kwargs.setdefault('dynamo', False)
    with warnings.catch_warnings():
        # the exporter warns about itself, and about Python numbers, which
        # the rewriters make constants on purpose
        for category in (DeprecationWarning, UserWarning, TracerWarning):
            warnings.simplefilter('ignore', category)
        return ctx.origin_func(*args, **kwargs)


def patch_device_check() -> None:
    """Accept ``cpu`` for TensorRT: the graph is written without a GPU."""
    from mmdeploy.apis.utils import utils as module

    original = module.check_backend_device

    @functools.wraps(original)
    def check(deploy_cfg: Mapping, device: str) -> None:
        if module.get_backend(deploy_cfg).value != 'tensorrt':
            original(deploy_cfg, device)

    module.check_backend_device = check


def patch_backend_managers() -> None:
    """Remove the backend managers that this package replaces.

    mmdeploy's have been imported before, else they would be registered later
    and replace ours.
    """
    from mmdeploy.backend.base import BACKEND_MANAGERS

    for name in ('ncnn', 'onnxruntime', 'tensorrt'):
        BACKEND_MANAGERS._module_dict.pop(name, None)


def patch_ncnn_rewriters() -> None:
    """Remove two rewriters that make an export take minutes, and a pooling.

    mmdeploy inspects the call stack at every attribute of every tensor, to
    make shapes plain numbers; its ``interpolate`` relies on that. Our ncnn
    writer knows the shapes of a graph of fixed size. The pooling becomes a
    layer that only mmdeploy's own build of ncnn has.
    """
    from mmdeploy.core import FUNCTION_REWRITER, SYMBOLIC_REWRITER
    from mmdeploy.utils import Backend

    for rewriter, name in (
        (FUNCTION_REWRITER, 'torch.Tensor.__getattribute__'),
        (FUNCTION_REWRITER, 'torch.nn.functional.interpolate'),
        (SYMBOLIC_REWRITER, 'adaptive_avg_pool2d'),
    ):
        records = rewriter._registry._rewrite_records
        records[name] = [
            record
            for record in records.get(name, ())
            if not any(
                getattr(checker, 'required_backend', None) == Backend.NCNN
                for checker in record['_checkers']
            )
        ]


def backend_segmentors() -> object:
    """mmdeploy's registry of exported segmentors, which has no public name."""
    from mmdeploy.codebase.mmseg.deploy import segmentation_model

    return vars(segmentation_model)['__BACKEND_MODEL']
