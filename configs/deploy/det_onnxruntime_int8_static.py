# ONNX Runtime, SSDLite, 8 bits: one image per run.
# No layer of the network has to stay in float32: mAP on BCCD 0.503, in float
# 0.502.
_base_ = ['./_base_/det.py', './_base_/onnxruntime_int8.py']
