# ONNX Runtime, classification, 8 bits: as cls_onnxruntime_static.py, with the
# ranges of the activations from 100 images of the model config's training
# set. By measurement nothing has to stay in float: 37 breeds of pets, top-1
# 80.1 of 79.4 % in float.
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
    type='onnxruntime',
    precision='int8',
    calibration_images=100,
    keep_float=(),
)
