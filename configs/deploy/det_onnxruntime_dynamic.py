# ONNX Runtime, SSDLite, float32: any number of images per run.
_base_ = ['./_base_/det_dynamic.py', './_base_/onnxruntime.py']
