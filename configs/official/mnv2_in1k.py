# Google's MobileNetV2 1.0 at 224, ImageNet. For converted weights: see
# metafile.yml, or tools/convert_weights.py.
_base_ = '../mnv2_in1k.py'

model = dict(backbone=dict(padding='same'))
