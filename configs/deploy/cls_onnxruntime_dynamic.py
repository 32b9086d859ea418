# ONNX Runtime, classification, float32: any number of images per run.
_base_ = ['./_base_/cls_dynamic.py', './_base_/onnxruntime.py']
