# SSDLite on MobileNetV2 (section 6.2) as TensorFlow's Object Detection API
# builds it. 80 classes and the background: 4.337M parameters with BN and
# 0.789G multiply-adds at 320 (Table 6: 4.3M, 0.8B).
norm_cfg = dict(type='BN', eps=1e-3, momentum=0.0003)  # decay .9997
padding = 'same'

model = dict(
    _scope_='mmdet',
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[127.5, 127.5, 127.5],  # TF: x / 127.5 - 1
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_size_divisor=1,
    ),
    backbone=dict(
        type='mnv2_mm.MobileNetV2',
        widen_factor=1.0,
        # 576 channels at stride 16 and 1280 at stride 32
        out_indices=('layer_15/expansion_output', 'layer_19'),
        shrink_last=True,
        padding=padding,
        norm_cfg=norm_cfg,
    ),
    neck=dict(
        type='mnv2_mm.SSDLiteNeck',
        in_channels=(576, 1280),
        padding=padding,
        norm_cfg=norm_cfg,
    ),
    bbox_head=dict(
        type='mnv2_mm.SSDLiteHead',
        num_classes=80,
        in_channels=(576, 1280, 512, 256, 256, 128),
        loss='sigmoid',
        anchor_generator=dict(type='mnv2_mm.SSDLiteAnchorGenerator', input_size=320),
        padding=padding,
        norm_cfg=norm_cfg,
    ),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0.0,
            gt_max_assign_all=False,
        ),
        mining=dict(
            negatives_per_positive=3, min_negatives=3, nms_iou=0.99, max_examples=3000
        ),
    ),
    # The release keeps every box over 1e-8 for its NMS. The best 1000 pairs
    # of box and class a level give the same best 100 in a fraction of the
    # time.
    test_cfg=dict(
        nms_pre=1000,
        score_thr=1e-8,
        nms=dict(type='nms', iou_threshold=0.6),
        min_bbox_size=0,
        max_per_img=100,
    ),
)
