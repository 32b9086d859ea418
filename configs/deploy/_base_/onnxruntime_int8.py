# ONNX Runtime, 8 bits: the ranges of the activations come from 100 images of
# the training set of the model config. keep_float names nodes that stay in
# float32, by patterns.
_base_ = './onnxruntime.py'
backend_config = dict(precision='int8', calibration_images=100, keep_float=())
