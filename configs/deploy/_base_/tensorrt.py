# TensorRT: an ONNX file that holds its own precision, and the script that
# builds the engine on the machine with the GPU. With precision='fp16' weights
# and activations up to the last convolution are float16; keep_float names
# nodes that stay in float32, by patterns. TensorRT's NMS considers the 5000
# best pairs of box and class per image. workspace: bytes that TensorRT may
# use while it builds the engine.
backend_config = dict(type='tensorrt', precision='fp32', workspace=1 << 30)
