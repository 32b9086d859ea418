# The paper's ImageNet recipe (section 6.1): RMSProp with decay and momentum
# 0.9, learning rate 0.045, times 0.98 after every epoch, weight decay 4e-5;
# epsilon 1.0 and the average of the weights (0.9999) are of the official
# code. Weights of convolutions and of the classifier are decayed; depthwise
# ones, batch norm and biases are not.
#
# What the paper's "16 workers, batch 96" means for the rate: its workers were
# asynchronous, and each applied its own gradient of 96 images with the full
# 0.045. So 0.045 is the rate for a batch of 96 in one process; for N
# synchronous processes --auto-scale-lr makes it 0.045 * N, as the official
# instructions for several GPUs do (they decay every 2.5 epochs). Synchronous
# training cannot repeat the paper's delayed gradients.
# The paper does not give the length. After 300 epochs the rate is 1e-4.
max_epochs = 300

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='mnv2_mm.RMSpropTF',
        lr=0.045,
        alpha=0.9,
        momentum=0.9,
        eps=1.0,
        weight_decay=4e-5,
    ),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, dwconv_decay_mult=0.0),
)
param_scheduler = [dict(type='StepLR', by_epoch=True, step_size=1, gamma=0.98)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# The averaged weights are evaluated, as in the source: its average gets the
# number of steps, so its decay rises to 0.9999, and it includes the statistics
# of batch norm.
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='mnv2_mm.TFExponentialMovingAverage',
        decay=0.9999,
        warmup=True,
        update_buffers=True,
        priority='ABOVE_NORMAL',
    )
]

# --auto-scale-lr scales the rate by batch_size * processes / 96
auto_scale_lr = dict(enable=False, base_batch_size=96)
