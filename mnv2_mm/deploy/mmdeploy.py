"""Patches of mmdeploy 1.3.1 (December 2023), and the check that it is there.

Nothing outside of this file touches mmdeploy's internals. :func:`patch` is
called once, when :mod:`mnv2_mm.deploy` is imported.
"""

import contextlib
import functools
import inspect
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping

from mnv2_mm.utils import compat
from mnv2_mm.utils.deploy_check import MMDEPLOY, REQUIRED
from mnv2_mm.utils.errors import InputError


def is_installed() -> bool:
    """Whether mmdeploy and what an export needs are installed."""
    supported = compat.version_of('mmdeploy') == MMDEPLOY
    return supported and all(map(compat.installed, REQUIRED))


def require() -> None:
    """Raise an InputError with the commands to run if nothing can be exported here."""
    lacking = [name for name in REQUIRED if not compat.installed(name)]
    reason = f'{", ".join(lacking)} is missing, the export needs it'
    commands = [f'pip install {" ".join(lacking)}'] if lacking else []
    version = compat.version_of('mmdeploy')
    if version != MMDEPLOY:
        reason = f'mmdeploy is {version or "missing"}, {MMDEPLOY} is needed'
        # its dependencies would replace half of the environment
        commands.insert(0, f'pip install --no-deps mmdeploy=={MMDEPLOY}')
    if commands:
        raise InputError(
            f'{reason}: bash tools/setup_env.sh --deploy in a clone, else '
            f'{" && ".join(commands)}; see `python -m mnv2_mm.check --deploy`'
        )


def patch() -> None:
    """Import mmdeploy and patch it in this process."""
    from aenum import extend_enum

    with frames_only():
        import mmdeploy.apis
        import mmdeploy.backend.ncnn
        import mmdeploy.backend.onnxruntime
        import mmdeploy.backend.openvino
        import mmdeploy.pytorch.functions

        with contextlib.suppress(Exception):  # may fail with TensorRT 11
            import mmdeploy.backend.tensorrt  # noqa: F401
    from mmdeploy.backend.base import BACKEND_MANAGERS
    from mmdeploy.core import FUNCTION_REWRITER
    from mmdeploy.core.rewriters import function_rewriter
    from mmdeploy.utils import Backend

    # torch.fx's table of wrapped functions, which mmdeploy extends, was a list
    # and is a dict now; tracing does not read it
    function_rewriter._wrapped_fns_to_patch = []
    function_rewriter.get_frame_func = function_of_frame
    FUNCTION_REWRITER.register_rewriter('torch.onnx.export')(export_by_tracing)
    patch_replacing()
    patch_device_check()
    if not hasattr(Backend, 'LITERT'):  # else its registration logs a line
        extend_enum(Backend, 'LITERT', 'litert')
    # mmdeploy's are registered by the imports above, ours after them
    for name in ('ncnn', 'onnxruntime', 'openvino', 'tensorrt'):
        BACKEND_MANAGERS._module_dict.pop(name, None)
    patch_ncnn_rewriters()


@contextlib.contextmanager
def frames_only() -> Iterator[None]:
    """Within it, ``inspect.stack`` gives frames without their source.

    mmdeploy reads the source of the whole stack six times when it is imported,
    to learn the name of one module: 1 s, or 7 s below pytest.
    """
    original = inspect.stack
    inspect.stack = lambda context=1: list(traceback.walk_stack(sys._getframe(1)))
    try:
        yield
    finally:
        inspect.stack = original


def patch_replacing() -> None:
    """Search all modules once for the functions that an export replaces.

    mmdeploy asks the garbage collector for each of them, twice in an export: 2 s,
    or 10 s where much is in memory.
    """
    from mmdeploy.core import FUNCTION_REWRITER
    from mmdeploy.core.rewriters import function_rewriter

    places: dict[int, list[dict]] = {}  # by id of a function that they name

    def search() -> None:
        contexts = [c for cs in FUNCTION_REWRITER._func_contexts.values() for c in cs]
        places.update({id(f): [] for c in contexts for f in (c.func, c.origin_func)})
        spaces = [getattr(module, '__dict__', {}) for module in [*sys.modules.values()]]
        # a rewriter runs with a copy of its module's names
        for names in spaces + [c.func.__globals__ for c in contexts]:
            for key in places.keys() & map(id, names.values()):
                places[key].append(names)

    def replace(obj: object, new_obj: object, **_: object) -> None:
        if not places:
            search()
        for names in places.get(id(obj), ()):
            names.update({k: new_obj for k, value in names.items() if value is obj})

    def searching_again(method: Callable) -> Callable:
        @functools.wraps(method)
        def call(*args: object, **kwargs: object) -> None:
            places.clear()  # modules are imported also while a model is exported
            method(*args, **kwargs)

        return call

    function_rewriter._replace_all_obj = replace
    for name in ('enter', 'exit'):
        method = getattr(FUNCTION_REWRITER, name)
        setattr(FUNCTION_REWRITER, name, searching_again(method))


def function_of_frame(top: int = 1) -> Callable:
    """The function that is ``top`` calls up.

    mmdeploy's reads the source of the whole stack for it, 0.2 s per convolution.
    """
    frame = sys._getframe(top)
    return frame.f_globals[frame.f_code.co_name]


def export_by_tracing(*args: object, **kwargs: object) -> object:
    """``torch.onnx.export`` by tracing, which mmdeploy's rewriters need.

    torch.export is the default since torch 2.9.
    """
    from mmdeploy.core import FUNCTION_REWRITER
    from torch.jit import TracerWarning

    ctx = FUNCTION_REWRITER.get_context()
    if 'dynamo' in inspect.signature(ctx.origin_func).parameters:  # not in older torch
        kwargs.setdefault('dynamo', False)
    with warnings.catch_warnings():
        # about itself, and Python numbers, which are constants on purpose
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


def patch_ncnn_rewriters() -> None:
    """Remove two rewriters that make an export take minutes, and a pooling.

    The two inspect the call stack at every attribute of every tensor, to make
    shapes plain numbers; our ncnn writer knows the shapes of a graph of fixed
    size. The pooling becomes a layer that only mmdeploy's own ncnn has.
    """
    from mmdeploy.core import FUNCTION_REWRITER, SYMBOLIC_REWRITER
    from mmdeploy.utils import Backend

    def of_ncnn(record: Mapping) -> bool:
        backends = (getattr(x, 'required_backend', None) for x in record['_checkers'])
        return Backend.NCNN in backends

    for rewriter, name in (
        (FUNCTION_REWRITER, 'torch.Tensor.__getattribute__'),
        (FUNCTION_REWRITER, 'torch.nn.functional.interpolate'),
        (SYMBOLIC_REWRITER, 'adaptive_avg_pool2d'),
    ):
        records = rewriter._registry._rewrite_records
        records[name] = [r for r in records.get(name, ()) if not of_ncnn(r)]


def backend_segmentors() -> object:
    """mmdeploy's registry of exported segmentors, which has no public name."""
    from mmdeploy.codebase.mmseg.deploy import segmentation_model

    return vars(segmentation_model)['__BACKEND_MODEL']
