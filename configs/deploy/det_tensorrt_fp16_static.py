# TensorRT, SSDLite, float16: one image per run.
_base_ = ['./_base_/det.py', './_base_/tensorrt.py']
backend_config = dict(precision='fp16', keep_float=())
