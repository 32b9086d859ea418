# AdamW 6e-5 at batch 16, ten times that for the head, weight decay 0.01, a
# linear warm-up of 1500 iterations and a linear fall to zero: the recipe of
# SegFormer, also used by SegNeXt, a convolutional network. Theirs is 160k
# iterations of ADE20K; mmseg trains 40k on VOC. It fine-tunes a
# trained backbone; from a random start the rates are too small.
# Ours: the average of the weights, with the statistics of batch norm; no
# decay of depthwise kernels and biases.
max_iters = 40000

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        dwconv_decay_mult=0.0,
        # this key comes before the rules above, as it does in SegFormer
        custom_keys=dict(decode_head=dict(lr_mult=10.0)),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(
        type='PolyLR', power=1.0, eta_min=0.0, begin=1500, end=max_iters, by_epoch=False
    ),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='mnv2_mm.TFExponentialMovingAverage',
        decay=0.9999,
        update_buffers=True,
        priority='ABOVE_NORMAL',
    )
]

# --auto-scale-lr scales the rate by batch_size * processes / 16
auto_scale_lr = dict(enable=False, base_batch_size=16)
