# Table 3, column "ShuffleNet (2x,g=3)": the channels that it lists, 400, 800
# and 1600, are those of g=2. With g=3, as captioned, they are 480, 960 and
# 1920: table4/shufflenet_w200_g3.py. Counted: 5.22M weights and biases, 539M
# multiply-adds. The recipe is that of MobileNetV2, without dropout.
_base_ = '../mnv2_in1k.py'

model = dict(
    backbone=dict(_delete_=True, type='ShuffleNetV1', groups=2, widen_factor=2.0),
    head=dict(in_channels=1600, dropout_ratio=0.0),
)
