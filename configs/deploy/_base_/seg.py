# Mobile DeepLabv3, images of 513x513. Another size:
# --cfg-options ir_config.input_shape="[width,height]".
# The output is the logits of the head, at 1/8 or 1/16 of the input size. The
# runtime resizes them and takes the best class, in the order of mmseg. With
# with_resize=True and with_argmax=True the graph outputs the classes
# (B, 1, H, W) at the size of the input instead.
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
