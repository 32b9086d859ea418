# ONNX Runtime, Mobile DeepLabv3, float32: one image of 513x513 a run.
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
backend_config = dict(type='onnxruntime', precision='fp32')
