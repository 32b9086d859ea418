# ONNX Runtime, Mobile DeepLabv3, float32: any number of images of any size per run.
_base_ = ['./_base_/seg_any_size.py', './_base_/onnxruntime.py']
