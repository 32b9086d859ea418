# TensorRT, Mobile DeepLabv3, float16: one image of 513x513 per run.
_base_ = ['./_base_/seg.py', './_base_/tensorrt.py']
backend_config = dict(precision='fp16', keep_float=())
