# ONNX Runtime, Mobile DeepLabv3, 8 bits: one image of 513x513 per run.
# Mean IoU on 80 photos of pets: float 0.970, all in 8 bits 0.960, as here 0.970.
_base_ = ['./_base_/seg.py', './_base_/onnxruntime_int8.py']
backend_config = dict(
    keep_float=('/backbone/conv1/*', '/backbone/layer1*', '/backbone/layer2*')
)
