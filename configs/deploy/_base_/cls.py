# Classification, images of the size that the model's test pipeline gives.
# The output is the probability of each class, (B, C).
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
