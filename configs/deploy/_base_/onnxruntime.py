# ONNX Runtime, one .onnx file of standard operators.
backend_config = dict(type='onnxruntime', precision='fp32')
