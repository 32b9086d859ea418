"""Deployment through mmdeploy: ONNX Runtime, ncnn and TensorRT.

A deploy config names this package in ``custom_imports``, so mmdeploy's own
tools find what is registered here. Importing it mends mmdeploy (see
:mod:`mnv2_mm.deploy.mmdeploy`) and registers the backends; the parts that need a
host are imported by ``codebase_config.module`` of the deploy config.

Without mmdeploy the import succeeds and registers nothing, for the parts
that do not need it.
"""

from mnv2_mm.utils import compat
from mnv2_mm.utils.deploy_check import MMDEPLOY
from mnv2_mm.utils.errors import InputError

__all__ = ['require']

_NEEDED = ('aenum', 'onnx')  # what mmdeploy imports


def require() -> None:
    """Make sure that a build can be made here.

    Raises:
        InputError: mmdeploy is missing or of another version, or onnx is
            missing.
    """
    version = compat.version_of('mmdeploy')
    if version != MMDEPLOY:
        found = f'mmdeploy is {version}' if version else 'mmdeploy is missing'
        raise InputError(
            f'{found}, {MMDEPLOY} is needed: pip install --no-deps '
            f'mmdeploy=={MMDEPLOY} (its dependencies would replace half of '
            'the environment); see `python -m mnv2_mm.check --deploy`'
        )
    for name in _NEEDED:
        if not compat.installed(name):
            raise InputError(
                f'{name} is missing, without which there is no export: pip '
                f'install {name}; see `python -m mnv2_mm.check --deploy`'
            )


if compat.version_of('mmdeploy') == MMDEPLOY and all(map(compat.installed, _NEEDED)):
    from mnv2_mm.deploy import mmdeploy as mend

    mend.apply()
    from mnv2_mm.deploy import same_padding  # noqa: F401
    from mnv2_mm.deploy.ncnn import backend as _ncnn  # noqa: F401
    from mnv2_mm.deploy.onnxruntime import backend as _ort  # noqa: F401
    from mnv2_mm.deploy.tensorrt import backend as _tensorrt  # noqa: F401
