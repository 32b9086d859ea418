# TensorRT, Mobile DeepLabv3, float16: 1 to 8 images of 513x513 per run.
_base_ = ['./_base_/seg_dynamic.py', './_base_/tensorrt_dynamic.py']
backend_config = dict(precision='fp16', keep_float=())
