# ssdlite_sample.py on the backbone of Google's SSD for Open Images, at its width:
# each epoch takes over twice the time, and half of the epochs suffice.
_base_ = 'ssdlite_sample.py'

max_epochs = 4
lr = 0.004

model = dict(
    backbone=dict(
        widen_factor=1.0,
        init_cfg=dict(
            _delete_=True,
            type='Pretrained',
            checkpoint='mnv2_mm://ssd_mnv2_openimages',
            prefix='backbone.',
        ),
    ),
    neck=dict(in_channels=(576, 1280), widen_factor=1.0),
    bbox_head=dict(in_channels=(576, 1280, 512, 256, 256, 128)),
)
# a lower learning rate for the trained part than for the new head
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.2)}),
)
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
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
custom_hooks = [dict(type='mnv2_mm.UnfuseConvBNHook')]
