# TensorRT, SSDLite, 8 bits: one image of the model's own input size a run.
# The ONNX file has pairs of QuantizeLinear and DequantizeLinear around its
# convolutions, int8 around zero as TensorRT asks for, with the ranges of the
# activations from 100 images of the model config's training set. Decoding,
# clipping and NMS are in the graph, in float32; its outputs are `dets` (B,
# K, 5) and `labels` (B, K), with K of model.test_cfg.max_per_img. TensorRT's
# NMS looks at the 5000 best pairs of box and class of an image.
# By measurement in onnxruntime nothing has to stay in float but what follows
# the predictors: BCCD, mAP 0.503 of 0.507 in float.
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
    type='tensorrt',
    precision='int8',
    workspace=1 << 30,
    calibration_images=100,
    keep_float=(),
)
