# TensorRT, classification, float16: 1 to 8 images per run.
_base_ = ['./_base_/cls_dynamic.py', './_base_/tensorrt_dynamic.py']
backend_config = dict(precision='fp16', keep_float=())
