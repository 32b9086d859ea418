# ONNX Runtime, SSDLite, 8 bits: as det_onnxruntime_static.py, with the ranges
# of the activations from 100 images of the model config's training set. By
# measurement nothing has to stay in float but what follows the predictors:
# BCCD, mAP 0.503 of 0.502 in float.
custom_imports = dict(imports=['mnv2_mm.deploy'], allow_failed_imports=False)
ir_config = dict(
    type='onnx',
    export_params=True,
    keep_initializers_as_inputs=False,
    opset_version=13,
    save_file='end2end.onnx',
    input_names=['input'],
    output_names=['dets', 'labels'],
    input_shape=None,
    optimize=False,
)
codebase_config = dict(
    type='mmdet',
    task='ObjectDetection',
    module=['mnv2_mm.deploy.detection'],
    model_type='end2end',
)
backend_config = dict(
    type='onnxruntime',
    precision='int8',
    calibration_images=100,
    keep_float=(),
)
