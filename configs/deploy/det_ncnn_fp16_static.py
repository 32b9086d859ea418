# ncnn, SSDLite, weights stored in float16: one image a run, of the model's
# own input size. Priors, decoding and DetectionOutput are in the graph.
custom_imports = dict(imports=['mnv2_mm.deploy'], allow_failed_imports=False)
ir_config = dict(
    type='onnx',
    export_params=True,
    keep_initializers_as_inputs=False,
    opset_version=13,
    save_file='end2end.onnx',
    input_names=['input'],
    output_names=['detections'],
    input_shape=None,
    optimize=False,
)
codebase_config = dict(
    type='mmdet',
    task='ObjectDetection',
    module=['mnv2_mm.deploy.detection'],
    model_type='end2end',
)
backend_config = dict(type='ncnn', precision='fp16')
