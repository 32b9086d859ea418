# TensorRT, 8 bits: pairs of QuantizeLinear and DequantizeLinear around the
# convolutions, int8 with a zero point of 0, which TensorRT requires. The
# ranges of the activations come from 100 images of the training set of the
# model config. keep_float names nodes that stay in float32, by patterns.
_base_ = './tensorrt.py'
backend_config = dict(precision='int8', calibration_images=100, keep_float=())
