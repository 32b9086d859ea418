# OpenVINO, one .onnx file of standard operators.
backend_config = dict(type='openvino', precision='fp32')
