"""Deployment through mmdeploy: ONNX Runtime, ncnn and TensorRT.

A deploy config names this package in ``custom_imports``, so mmdeploy's own
tools load it too. Importing it patches mmdeploy (:mod:`mnv2_mm.deploy.mmdeploy`)
and registers the three backends and the rewriter of SAME padding. The parts
that need mmdet, mmseg or mmpretrain are named in ``codebase_config.module``.

Without mmdeploy the import succeeds and registers nothing; :func:`require`
then raises an error that says what to install.
"""

from mnv2_mm.deploy.mmdeploy import is_installed, patch, require

__all__ = ['require']

if is_installed():
    patch()
    from mnv2_mm.deploy import same_padding  # noqa: F401
    from mnv2_mm.deploy.ncnn import backend as _ncnn  # noqa: F401
    from mnv2_mm.deploy.onnxruntime import backend as _onnxruntime  # noqa: F401
    from mnv2_mm.deploy.tensorrt import backend as _tensorrt  # noqa: F401
