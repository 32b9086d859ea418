# Mobile DeepLabv3 at 96 px on the generated sample set, from random weights: three to
# four minutes on two CPU cores.
#
# DeepLab's recipe is for a trained backbone and 30k steps. What differs, so that 900
# steps of 8 images suffice: half the width, output stride 8, He's initialization
# instead of one deviation for all layers, AdamW at a high rate with a short warm-up, BN
# statistics that adapt within tens of steps (momentum 0.1; TF's 0.003 and 0.0003 need
# thousands), and no dropout. TensorFlow's padding trains faster on a CPU
# (mnv2_mm/models/same_conv.py).
_base_ = [
    '../_base_/models/deeplabv3_mnv2.py',
    '../_base_/datasets/sample_seg.py',
    '../_base_/runtime/seg.py',
]

# ---- changed most often -------------------------------------------------
max_iters = 900
lr = 0.006
# -------------------------------------------------------------------------

model = dict(
    data_preprocessor=dict(size=(96, 96)),  # input_size of the data set
    backbone=dict(
        widen_factor=0.5,
        output_stride=8,
        padding='same',
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.1),
        init_cfg=dict(type='Kaiming', layer='Conv2d', mode='fan_out'),
    ),
    decode_head=dict(
        in_channels=160,
        channels=128,
        num_classes=6,
        norm_cfg=dict(type='BN', eps=1e-5, momentum=0.1),
        dropout_ratio=0.0,
    ),
)

# `fused`: a step of so small a network takes a tenth less time.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=0.01, fused=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(
        type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=50, end=max_iters
    ),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
train_dataloader = dict(batch_size=8)
auto_scale_lr = dict(enable=False, base_batch_size=8)

default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=450),
    memory_format=dict(type='mnv2_mm.ChannelsLastHook'),
)
# three scales around the image's, each with its mirror image
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(96, 72), keep_ratio=True),
                dict(type='Resize', scale=(128, 96), keep_ratio=True),
                dict(type='Resize', scale=(160, 120), keep_ratio=True),
            ],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
