# TensorRT, classification, float16: one image per run.
_base_ = ['./_base_/cls.py', './_base_/tensorrt.py']
backend_config = dict(precision='fp16', keep_float=())
