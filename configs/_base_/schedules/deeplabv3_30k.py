# Mobile DeepLabv3, 30 000 iterations of 16 images.
# Source of the numbers: the flags of the DeepLab code (SGD with momentum 0.9,
# learning rate 0.007, poly 0.9, 30k steps, weight decay 4e-5, biases at twice
# the rate) and the DeepLabv3 paper (batch 16). Convolutions are decayed,
# depthwise ones, batch norm and biases are not. No warm-up, no clipping and
# no average of the weights, as in the source.
# Below a batch of 12 the source keeps the statistics of batch norm fixed
# (fine_tune_batch_norm=False), which needs a trained start:
#   model.backbone.norm_eval=True model.decode_head.norm_eval=True
# Fine-tuning from such a model (the paper's trainval stage):
#   optim_wrapper.optimizer.lr=1e-4
max_iters = 30000

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.007, momentum=0.9, weight_decay=4e-5),
    paramwise_cfg=dict(
        bias_lr_mult=2.0,
        bias_decay_mult=0.0,
        norm_decay_mult=0.0,
        dwconv_decay_mult=0.0,
    ),
)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=2000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# --auto-scale-lr scales the rate by batch_size * processes / 16
auto_scale_lr = dict(enable=False, base_batch_size=16)
