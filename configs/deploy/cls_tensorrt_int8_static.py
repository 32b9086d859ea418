# TensorRT, classification, 8 bits: one image of the model's own input size
# a run. The ONNX file has pairs of QuantizeLinear and DequantizeLinear
# around its convolutions, int8 around zero as TensorRT asks for, with the
# ranges of the activations from 100 images of the model config's training
# set. What stays in float was found by measurement, on 296 images of 37
# breeds in onnxruntime: top-1 78.7 % in float, 77.4 with all convolutions in
# 8 bits, 78.7 with the first convolution and the first block in float. The
# output is the probability of each class, (B, C).
custom_imports = dict(imports=['mnv2_mm.deploy'], allow_failed_imports=False)
ir_config = dict(
    type='onnx',
    export_params=True,
    keep_initializers_as_inputs=False,
    opset_version=13,
    save_file='end2end.onnx',
    input_names=['input'],
    output_names=['output'],
    input_shape=None,
    optimize=False,
)
codebase_config = dict(
    type='mmpretrain',
    task='Classification',
    module=['mnv2_mm.deploy.classification'],
    model_type='end2end',
)
backend_config = dict(
    type='tensorrt',
    precision='int8',
    workspace=1 << 30,
    calibration_images=100,
    keep_float=('/backbone/conv1/*', '/backbone/layer1*'),
)
