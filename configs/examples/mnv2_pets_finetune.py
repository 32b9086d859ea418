# Own data, classification, from trained weights: Google's ImageNet network
# on the 37 breeds of mnv2_pets.py, ten minutes on two CPU cores. The weights
# are downloaded and converted at the first start.
_base_ = 'mnv2_pets.py'

max_epochs = 10
lr = 0.002

model = dict(
    backbone=dict(
        widen_factor=1.0,
        padding='same',  # as the weights were trained
        init_cfg=dict(
            type='Pretrained', checkpoint='mnv2_mm://mnv2_in1k', prefix='backbone.'
        ),
    ),
    # a new head that begins with nearly equal scores
    head=dict(init_cfg=dict(type='TruncNormal', layer='Linear', std=0.01)),
)
# a lower learning rate for the trained part than for the new head
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        by_epoch=True,
        begin=0,
        end=1,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=1,
        end=max_epochs,
        T_max=max_epochs - 1,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
custom_hooks = [dict(type='mnv2_mm.UnfuseConvBNHook')]
