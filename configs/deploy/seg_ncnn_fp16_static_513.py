# ncnn, Mobile DeepLabv3, weights stored in float16: one image a run,
# padded to 513x513. The graph ends with the logits at an eighth or a
# sixteenth of it; who runs it resizes them and takes the largest
# (tools/run_build.py does).
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
backend_config = dict(type='ncnn', precision='fp16')
