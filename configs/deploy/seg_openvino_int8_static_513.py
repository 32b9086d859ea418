# OpenVINO, Mobile DeepLabv3, 8 bits: one image of 513x513 per run.
_base_ = ['./_base_/seg.py', './_base_/onnxruntime_int8.py']
backend_config = dict(
    type='openvino',
    keep_float=('/backbone/conv1/*', '/backbone/layer1*', '/backbone/layer2*'),
)
