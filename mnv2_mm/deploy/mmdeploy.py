"""What mmdeploy 1.3.1, of December 2023, breaks on today.

Applied when :mod:`mnv2_mm.deploy` is imported and not before; safe to
repeat. What is changed:

- ``torch.onnx.export`` exports through torch.export since torch 2.9, and
  mmdeploy's rewriters belong to the exporter of before.
- ``torch.fx`` keeps its table of wrapped functions in a dict, no longer in
  a list; mmdeploy would end every export in ``KeyError: -1``.
- setuptools 82 has no ``pkg_resources``, which mmdeploy asks for versions.
- A TensorRT graph is refused on a machine without a GPU, where the graph
  (not the engine) can well be written.
"""

import functools
import sys
import types
import warnings

from mnv2_mm.utils import compat


def apply() -> None:
    """Mend the installed mmdeploy in this process."""
    _mend_pkg_resources()
    _mend_wrapped_functions()
    _mend_exporter()
    _mend_device_check()


def _mend_pkg_resources() -> None:
    if compat.installed('pkg_resources'):
        return
    module = types.ModuleType('pkg_resources')

    def get_distribution(name: str) -> types.SimpleNamespace:
        """Name and version of an installed distribution."""
        version = compat.version_of(name)
        if version is None:
            raise LookupError(name)
        return types.SimpleNamespace(project_name=name, version=version)

    module.get_distribution = get_distribution
    sys.modules['pkg_resources'] = module


def _mend_wrapped_functions() -> None:
    from mmdeploy.core.rewriters import function_rewriter as module

    table = module._wrapped_fns_to_patch
    original = module.FunctionRewriter.exit
    if not isinstance(table, dict) or hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def leave(self: module.FunctionRewriter) -> None:
        while len(table) > self._ori_fx_wrap_num:
            table.popitem()  # the last ones, which entering has added
        original(self)

    def wrap_copy(func: object, copied: object) -> None:
        """Wrap for torch.fx in the copy what is wrapped in the original."""
        own = getattr(func, '__globals__', None)
        names = [key[1] for key, value in table.items() if value is own]
        for name in names if own is not None else ():
            table[id(copied.__globals__), name] = copied.__globals__

    module.FunctionRewriter.exit = leave
    module._fx_wrap_copied_fn = wrap_copy


def _mend_exporter() -> None:
    from mmdeploy.core import FUNCTION_REWRITER
    from torch.onnx import export

    records = FUNCTION_REWRITER._registry._rewrite_records
    if 'torch.onnx.export' not in records and 'dynamo' in _names(export):
        # replaced while mmdeploy exports a model, and only then
        register = FUNCTION_REWRITER.register_rewriter('torch.onnx.export')
        register(export_by_tracing)


def export_by_tracing(*args: object, **kwargs: object) -> object:
    """``torch.onnx.export`` with the exporter that it had before 2.9."""
    from mmdeploy.core import FUNCTION_REWRITER
    from torch.jit import TracerWarning

    ctx = FUNCTION_REWRITER.get_context()
    kwargs.setdefault('dynamo', False)
    with warnings.catch_warnings():
        # of the exporter about itself, and about Python numbers, which the
        # rewriters make constants on purpose
        for category in (DeprecationWarning, UserWarning, TracerWarning):
            warnings.simplefilter('ignore', category)
        return ctx.origin_func(*args, **kwargs)


def _names(function: object) -> tuple[str, ...]:
    """Names of the arguments of a function."""
    code = function.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _mend_device_check() -> None:
    from mmdeploy.apis.utils import utils as module

    original = module.check_backend_device
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def check(deploy_cfg: object, device: str) -> None:
        if module.get_backend(deploy_cfg).value != 'tensorrt':
            original(deploy_cfg, device)

    module.check_backend_device = check
