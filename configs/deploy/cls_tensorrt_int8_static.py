# TensorRT, classification, 8 bits: one image per run.
# Top-1 on 296 images of 37 breeds, in onnxruntime: float 78.7 %, all
# convolutions in 8 bits 77.4 %, as here 78.7 %.
_base_ = ['./_base_/cls.py', './_base_/tensorrt_int8.py']
backend_config = dict(keep_float=('/backbone/conv1/*', '/backbone/layer1*'))
