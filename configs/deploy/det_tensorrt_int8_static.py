# TensorRT, SSDLite, 8 bits: one image per run.
# No layer of the network has to stay in float32: mAP on BCCD 0.503 in
# onnxruntime, in float 0.507.
_base_ = ['./_base_/det.py', './_base_/tensorrt_int8.py']
