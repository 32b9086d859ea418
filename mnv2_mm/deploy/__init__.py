"""Deployment through mmdeploy: ONNX Runtime, ncnn, TensorRT, LiteRT, OpenVINO.

Importing it patches mmdeploy (:mod:`mnv2_mm.deploy.mmdeploy`) and registers the
backends and the rewriter of SAME padding; deploy configs name it in
``custom_imports``. Without mmdeploy the import registers nothing, and
:func:`require` raises an error that says what to install.
"""

from mnv2_mm.deploy.mmdeploy import is_installed, patch, require

__all__ = ['require']

if is_installed():
    patch()
    from mnv2_mm.deploy import same_padding  # noqa: F401
    from mnv2_mm.deploy.litert import backend as _litert  # noqa: F401
    from mnv2_mm.deploy.ncnn import backend as _ncnn  # noqa: F401
    from mnv2_mm.deploy.onnxruntime import backend as _onnxruntime  # noqa: F401
    from mnv2_mm.deploy.openvino import backend as _openvino  # noqa: F401
    from mnv2_mm.deploy.tensorrt import backend as _tensorrt  # noqa: F401
