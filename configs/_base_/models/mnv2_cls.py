# MobileNetV2 as an ImageNet classifier: Table 2 and section 6.1 of the paper.
# Source of the numbers: Table 2; dropout 0.2, batch norm with epsilon 1e-3
# and decay 0.997, label smoothing 0.1 are of the official code.
#
# Changed most often, from a config or by --cfg-options:
#   width 1.4, the other model of Table 4
#     model.backbone.widen_factor=1.4 model.head.in_channels=1792
#   other widths: in_channels is 1280 up to width 1, 1664 at 1.3
#     model.backbone.widen_factor=0.35
#   your classes
#     model.head.num_classes=37 and, below 5 classes, model.head.topk="(1,)"
#     val_evaluator.topk="(1,)" test_evaluator.topk="(1,)"
model = dict(
    _scope_='mmpretrain',
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        mean=[127.5, 127.5, 127.5],  # [-1, 1]
        std=[127.5, 127.5, 127.5],
        to_rgb=True,
    ),
    backbone=dict(
        type='mnv2_mm.MobileNetV2',
        widen_factor=1.0,
        out_indices=('layer_19',),
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.003),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mnv2_mm.DropoutClsHead',
        num_classes=1000,
        in_channels=1280,
        dropout_ratio=0.2,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1),
        topk=(1, 5),
    ),
)
