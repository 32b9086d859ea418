# Mobile DeepLabv3, any number of images of any size per run; the images of
# one run have the same size.
_base_ = './seg.py'
ir_config = dict(
    input_shape=None,
    dynamic_axes=dict(
        input={0: 'batch', 2: 'height', 3: 'width'},
        output={0: 'batch', 2: 'rows', 3: 'columns'},
    ),
)
