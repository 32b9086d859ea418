# Mixing: a stock mmpretrain classifier with our backbone, on ImageNet with
# mmpretrain's own recipe for its MobileNetV2 (SGD 0.045 for a batch of 256,
# times 0.98 after every epoch). configs/mnv2_in1k.py has the paper's.
#
# For any other head of mmpretrain: in_channels is the number of channels of the
# backbone's output, 1280 here; with out_indices=(6,) it would be 320.
_base_ = ['../_base_/datasets/in1k_cls.py', '../_base_/runtime/cls.py']

model = dict(
    _scope_='mmpretrain',
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        to_rgb=True,
    ),
    backbone=dict(type='mnv2_mm.MobileNetV2', widen_factor=1.0, out_indices=(7,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=1280,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
    ),
)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.045, momentum=0.9, weight_decay=4e-5),
)
param_scheduler = [dict(type='StepLR', by_epoch=True, step_size=1, gamma=0.98)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=256)
