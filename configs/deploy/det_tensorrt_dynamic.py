# TensorRT, SSDLite, float32: 1 to 8 images of the model's own input size a
# run. The engine is tuned for 4; other numbers: backend_config.batch.
# Decoding, clipping and NMS are in the graph, in float32; its outputs are
# `dets` (B, K, 5) and `labels` (B, K), with K of model.test_cfg.max_per_img.
# TensorRT's NMS looks at the 5000 best pairs of box and class of an image.
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
    dynamic_axes=dict(
        input={0: 'batch'},
        dets={0: 'batch'},
        labels={0: 'batch'},
    ),
    optimize=False,
)
codebase_config = dict(
    type='mmdet',
    task='ObjectDetection',
    module=['mnv2_mm.deploy.detection'],
    model_type='end2end',
)
backend_config = dict(
    type='tensorrt',
    precision='fp32',
    batch=dict(min=1, opt=4, max=8),
    workspace=1 << 30,
)
