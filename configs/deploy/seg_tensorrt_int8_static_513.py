# TensorRT, Mobile DeepLabv3, 8 bits: one image of 513x513 a run. The ONNX
# file has pairs of QuantizeLinear and DequantizeLinear around its
# convolutions, int8 around zero as TensorRT asks for, with the ranges of the
# activations from 100 images of the model config's training set.
# What stays in float was found by measurement in onnxruntime, with Google's
# network on 60 photos of pets, against its own masks in float: IoU of
# background, cat and dog 0.95, 0.89 and 0.91 with all convolutions in 8 bits,
# 0.99, 0.99 and 0.98 with the first convolution and three blocks in float.
# Another size: --cfg-options ir_config.input_shape="[width,height]".
# The graph ends in the logits of the head, which are small; what runs it
# resizes them and takes the best class, in the order of mmseg. With
# with_resize and with_argmax the graph ends in the classes (B, 1, H, W), at
# the input's size.
custom_imports = dict(imports=['mnv2_mm.deploy'], allow_failed_imports=False)
ir_config = dict(
    type='onnx',
    export_params=True,
    keep_initializers_as_inputs=False,
    opset_version=13,
    save_file='end2end.onnx',
    input_names=['input'],
    output_names=['output'],
    input_shape=[513, 513],
    optimize=False,
)
codebase_config = dict(
    type='mmseg',
    task='Segmentation',
    module=['mnv2_mm.deploy.segmentation'],
    model_type='mnv2_mm_segmentor',
    with_resize=False,
    with_argmax=False,
)
backend_config = dict(
    type='tensorrt',
    precision='int8',
    workspace=1 << 30,
    calibration_images=100,
    keep_float=(
        '/backbone/conv1/*',
        '/backbone/layer1*',
        '/backbone/layer2*',
    ),
)
