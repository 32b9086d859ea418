# TensorRT, Mobile DeepLabv3, float32: 1 to 8 images of 513x513 per run.
_base_ = ['./_base_/seg_dynamic.py', './_base_/tensorrt_dynamic.py']
