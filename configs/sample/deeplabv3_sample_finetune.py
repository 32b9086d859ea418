# deeplabv3_sample.py on the backbone of Google's DeepLabv3 for VOC, at its width:
# each step takes over twice the time, and fewer steps suffice.
_base_ = 'deeplabv3_sample.py'

max_iters = 500
lr = 0.004

model = dict(
    backbone=dict(
        widen_factor=1.0,
        init_cfg=dict(
            _delete_=True,
            type='Pretrained',
            checkpoint='mnv2_mm://deeplabv3_mnv2_voc',
            prefix='backbone.',
        ),
    ),
    decode_head=dict(in_channels=320),
)
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.2)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(
        type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=50, end=max_iters
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=250)
default_hooks = dict(checkpoint=dict(interval=250))
custom_hooks = [dict(type='mnv2_mm.UnfuseConvBNHook')]
