# mnv2_sample.py on the backbone of Google's ImageNet network, at its width: each
# epoch takes over twice the time, and a quarter of the epochs suffices.
_base_ = 'mnv2_sample.py'

max_epochs = 3
lr = 0.002

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
    # a new head that begins with nearly equal scores
    head=dict(init_cfg=dict(type='TruncNormal', layer='Linear', std=0.01)),
)
# a lower learning rate for the trained part than for the new head
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.2)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
custom_hooks = [dict(type='mnv2_mm.UnfuseConvBNHook')]
