# TensorRT, classification, float32: 1 to 8 images per run.
_base_ = ['./_base_/cls_dynamic.py', './_base_/tensorrt_dynamic.py']
