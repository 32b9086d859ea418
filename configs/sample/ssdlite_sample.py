# SSDLite at 192 px on the generated sample set: about four minutes on two
# CPU cores.
#
# Half of the paper's width and a short recipe, since TF's is made for 200k
# steps: AdamW with a warm-up and a cosine, and BN statistics that follow
# within tens of steps (momentum 0.1 instead of 0.0003).
_base_ = [
    '../_base_/models/ssdlite_mnv2.py',
    '../_base_/datasets/sample_det.py',
    '../_base_/runtime/det.py',
]

# ---- changed most often -------------------------------------------------
max_epochs = 14
lr = 0.002
# -------------------------------------------------------------------------
norm = dict(type='BN', eps=1e-3, momentum=0.1)

model = dict(
    backbone=dict(widen_factor=0.5, norm_cfg=norm),
    neck=dict(in_channels=(288, 640), widen_factor=0.5, norm_cfg=norm),
    bbox_head=dict(
        num_classes=5,
        in_channels=(288, 640, 256, 128, 128, 64),
        anchor_generator=dict(input_size=192),
        norm_cfg=norm,
    ),
    test_cfg=dict(score_thr=0.01),
)

train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=2
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0, bias_decay_mult=0, dwconv_decay_mult=0
    ),
    clip_grad=dict(max_norm=10, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        eta_min=lr / 100,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=8)
