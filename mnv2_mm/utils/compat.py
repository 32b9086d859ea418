"""The only file that knows of version differences.

Two families of OpenMMLab packages share their import names: upstream's last
releases and the maintained ``onedl-*`` continuation. Which of the two is
installed, what current torch changed under them, and what a torchvision
without its compiled part needs, is answered here and nowhere else.

Importing :mod:`mnv2_mm` calls :func:`apply`, which imports nothing heavy: a
mend waits until the module that needs it is imported.
"""

import functools
import importlib.util
import re
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Import name of each OpenMMLab package, and its name on the package index
#: by family.
PACKAGES = {
    'mmengine': {'onedl': 'onedl-mmengine', 'upstream': 'mmengine'},
    'mmcv': {'onedl': 'onedl-mmcv', 'upstream': 'mmcv'},
    'mmdet': {'onedl': 'onedl-mmdetection', 'upstream': 'mmdet'},
    'mmseg': {'onedl': 'onedl-mmsegmentation', 'upstream': 'mmsegmentation'},
    'mmpretrain': {'onedl': 'onedl-mmpretrain', 'upstream': 'mmpretrain'},
}

_kept = []  # torch.library handles; what they declare dies with them


def installed(module: str) -> bool:
    """Whether ``module`` could be imported (it is not imported here)."""
    return importlib.util.find_spec(module) is not None


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution; None without it."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def families(module: str) -> dict[str, str]:
    """Version by family of what is installed under ``module``'s name."""
    found = {
        family: version_of(distribution)
        for family, distribution in PACKAGES[module].items()
    }
    return {family: found[family] for family in found if found[family]}


def stack() -> str:
    """The installed family: 'onedl', 'upstream', 'mixed' or 'none'."""
    found = {family for module in PACKAGES for family in families(module)}
    if not found:
        return 'none'
    return found.pop() if len(found) == 1 else 'mixed'


def apply() -> None:
    """Mend the installed stack in this process; safe to repeat."""
    _Before.importing('torchvision', _mend_torchvision)
    upstream = 'onedl' not in families('mmengine')
    mend = allow_checkpoints if upstream else _allow_numbers
    _Before.importing('mmengine.runner.checkpoint', mend)


class _Before:
    """A meta-path entry: calls a function before a module is imported."""

    def __init__(self, module: str, call: Callable[[], None]) -> None:
        self.module = module
        self.call = call

    @classmethod
    def importing(cls, module: str, call: Callable[[], None]) -> None:
        """Call at once where ``module`` is there already."""
        if module in sys.modules:
            call()
        elif not any(
            isinstance(entry, cls) and entry.module == module for entry in sys.meta_path
        ):
            sys.meta_path.insert(0, cls(module, call))

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Never find anything: the import goes on with the next entry."""
        if name == self.module:
            sys.meta_path.remove(self)
            self.call()
        return None


def _mend_torchvision() -> None:
    """Make ``import torchvision`` work beside a CPU-only torch.

    The wheel of the package index is linked against CUDA. Its compiled part
    then fails to load, and the import dies on two operators that part would
    have declared. With their schemas declared the pure-Python transforms
    work, which is all that mmdet and mmpretrain use.
    """
    spec = importlib.util.find_spec('torchvision')
    if _kept or spec is None or spec.origin is None or not installed('torch'):
        return
    import torch

    library = Path(spec.origin).parent / '_C.so'
    try:
        torch.ops.load_library(library)
    except OSError:
        declared = torch.library.Library('torchvision', 'FRAGMENT')
        for op in ('nms', 'qnms'):
            declared.define(
                f'{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'
            )
        _kept.append(declared)


def allow_checkpoints() -> None:
    """Let torch.load(weights_only=True) read the checkpoints of mmengine.

    Upstream mmengine cannot under torch >= 2.6, where tensors only became
    the default: a checkpoint also holds its message hub, histories of scalars
    in numpy arrays. Those classes alone are allowed, so a file that wants to
    run code is still refused by torch, naming what it wants to call.

    onedl-mmengine allows the same by itself, but for the types in
    :func:`_allow_numbers`. For anything else it warns and reads the file with
    code and all; TORCH_FORCE_WEIGHTS_ONLY_LOAD=1 makes it refuse too.
    """
    import torch

    if not hasattr(torch.serialization, 'add_safe_globals'):
        return  # torch < 2.4 reads everything
    import numpy as np
    from mmengine.logging.history_buffer import HistoryBuffer

    try:
        from numpy._core import multiarray
    except ImportError:  # numpy < 2
        from numpy.core import multiarray

    def method_of_history(owner: type, name: str) -> Callable:
        """``getattr`` for what a HistoryBuffer pickles: its statistics."""
        if owner is not HistoryBuffer or name.startswith('_'):
            raise UnpicklingError(
                f'Unsupported global: GLOBAL getattr of {owner!r}, {name!r}'
            )
        return getattr(owner, name)

    _allow_numbers()
    allowed: list = [HistoryBuffer, np.ndarray, np.dtype]
    # by the names that numpy 1 and numpy 2 write
    allowed += [
        (function, f'{package}.multiarray.{function.__name__}')
        for function in (multiarray._reconstruct, multiarray.scalar)
        for package in ('numpy.core', 'numpy._core')
    ]
    allowed += [
        (method_of_history, f'{module}.getattr')
        for module in ('builtins', '__builtin__')
    ]
    torch.serialization.add_safe_globals(allowed)


def _allow_numbers() -> None:
    """Let a checkpoint hold numbers of any numpy type.

    mmseg's best mIoU is a float32. onedl-mmengine allows float64, int64 and
    uint32 only: it would print a page for each file that mmseg has written,
    and read it with code and all.
    """
    import torch

    if hasattr(torch.serialization, 'add_safe_globals'):  # torch >= 2.4
        import numpy as np

        codes = np.typecodes['AllFloat'] + np.typecodes['AllInteger']
        types = {type(np.dtype(code)) for code in codes}
        torch.serialization.add_safe_globals(list(types))


def why_unreadable(error: UnpicklingError) -> str:
    """One sentence for torch's page-long refusal to read a checkpoint."""
    found = re.search(r'nsupported (?:\w+: )?GLOBAL (\S+)', str(error))
    if found is None:
        return str(error).strip().partition('\n')[0]
    return (
        f'it holds more than tensors and would run {found.group(1)} when '
        'read, which is refused; save its "state_dict" alone where you trust '
        'it'
    )


def mend_ssd_head() -> None:
    """Let mmdet's own SSDHead predict.

    The prediction that it inherits reads ``loss_cls``, which this one head
    never sets: mmdet 3.3.0 and onedl-mmdetection 3.5.1 end any evaluation of
    an SSD with an AttributeError.
    """
    from mmdet.models import SSDHead

    original = SSDHead.__init__
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def init(self: SSDHead, *args: object, **kwargs: object) -> None:
        original(self, *args, **kwargs)
        # on the instance: a class attribute would hide a subclass's module
        if not hasattr(self, 'loss_cls'):
            self.loss_cls = None

    SSDHead.__init__ = init


def mend_seg_cross_entropy() -> None:
    """Let mmseg's cross entropy take class weights and ignored labels.

    Together they end in an IndexError: in mmseg 1.2.2 always, in
    onedl-mmsegmentation 1.4.2 with ``avg_non_ignore``. Only the divisor is
    at fault, so it is given: the summed weights of the labeled pixels, as
    torch's own mean has it.
    """
    from mmseg.models.losses import cross_entropy_loss as module

    original = module.cross_entropy
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def cross_entropy(
        pred: 'torch.Tensor',
        label: 'torch.Tensor',
        weight: 'torch.Tensor | None' = None,
        class_weight: 'torch.Tensor | None' = None,
        reduction: str = 'mean',
        avg_factor: 'float | torch.Tensor | None' = None,
        ignore_index: int = -100,
        **kwargs: object,
    ) -> 'torch.Tensor':
        unset = avg_factor is None and reduction == 'mean'
        if unset and class_weight is not None:
            labeled = label[label != ignore_index]
            avg_factor = class_weight[labeled].sum()
        return original(
            pred,
            label,
            weight=weight,
            class_weight=class_weight,
            reduction=reduction,
            avg_factor=avg_factor,
            ignore_index=ignore_index,
            **kwargs,
        )

    module.cross_entropy = cross_entropy
