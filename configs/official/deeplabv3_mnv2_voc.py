# Google's Mobile DeepLabv3 for PASCAL VOC: output stride 16, no ASPP. Each image is
# resized to a longer side of 513 and padded to 513x513, so that the global average
# covers the same area as in training. For converted weights: see metafile.yml, or
# tools/convert_weights.py.
_base_ = '../deeplabv3_mnv2_voc.py'

model = dict(
    data_preprocessor=dict(test_cfg=dict(size=(513, 513))),
    backbone=dict(padding='same'),
)
