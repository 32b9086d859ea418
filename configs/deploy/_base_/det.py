# SSDLite: decoding, clipping and NMS are in the graph, in float32. Outputs:
# `dets` (B, K, 5), boxes in pixels of the network input with their score, and
# `labels` (B, K); K is model.test_cfg.max_per_img of the model config. The
# input has the model's own size.
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
    with_nms=True,
)
