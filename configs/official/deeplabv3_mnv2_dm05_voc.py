# Google's Mobile DeepLabv3 at width 0.5 (deeplabv3_mnv2_dm05_pascal_trainaug). Unlike
# the classifiers, DeepLab does not round the channels of other widths to multiples of
# 8: 24 become 12, not 16. For converted weights: tools/convert_weights.py.
_base_ = '../deeplabv3_mnv2_voc.py'

model = dict(
    data_preprocessor=dict(test_cfg=dict(size=(513, 513))),
    backbone=dict(widen_factor=0.5, divisor=1, padding='same'),
    decode_head=dict(in_channels=160),
)
