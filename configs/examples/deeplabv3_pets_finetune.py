# Own data, segmentation, from trained weights: deeplabv3_pets.py on Google's
# ImageNet backbone at width 1. The weights are downloaded and converted at
# the first start.
_base_ = 'deeplabv3_pets.py'

model = dict(
    backbone=dict(
        widen_factor=1.0,
        padding='same',  # as the weights were trained
        init_cfg=dict(
            _delete_=True,
            type='Pretrained',
            checkpoint='mnv2_mm://mnv2_in1k',
            prefix='backbone.',
        ),
    ),
    decode_head=dict(in_channels=320),
)
# a lower learning rate for the trained part than for the new head
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}))
custom_hooks = [dict(type='mnv2_mm.UnfuseConvBNHook')]
