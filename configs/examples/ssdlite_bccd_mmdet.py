# For comparison: mmdet's own SSDLite (its
# ssdlite_mobilenetv2-scratch_8xb24-600e_coco) on BCCD, with the data,
# schedule and input size of ssdlite_bccd.py. It taps the 96-channel stage
# instead of the expansion, pads symmetrically, has six boxes on the lowest
# level and a softmax loss. Strides are input size over map size and box sizes
# 224/320 of its own, which are for 320 px.
_base_ = [
    '../_base_/datasets/bccd_det.py',
    '../_base_/schedules/adamw_short_det.py',
    '../_base_/runtime/det.py',
]

norm = dict(type='BN', eps=1e-3, momentum=0.03)
channels = (96, 1280, 512, 256, 256, 128)
trunc_normal = dict(type='TruncNormal', layer='Conv2d', std=0.03)

model = dict(
    _scope_='mmdet',
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=1,
    ),
    backbone=dict(
        type='MobileNetV2', out_indices=(4, 7), norm_cfg=norm, init_cfg=trunc_normal
    ),
    neck=dict(
        type='SSDNeck',
        in_channels=channels[:2],
        out_channels=channels,
        level_strides=(2, 2, 2, 2),
        level_paddings=(1, 1, 1, 1),
        l2_norm_scale=None,
        use_depthwise=True,
        norm_cfg=norm,
        act_cfg=dict(type='ReLU6'),
        init_cfg=trunc_normal,
    ),
    bbox_head=dict(
        type='mnv2_mm.SSDHead',  # mmdet's, able to predict
        in_channels=channels,
        num_classes=3,
        use_depthwise=True,
        norm_cfg=norm,
        act_cfg=dict(type='ReLU6'),
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.001),
        anchor_generator=dict(
            type='SSDAnchorGenerator',
            scale_major=False,
            strides=[16, 32, 56, 112, 224, 224],
            ratios=[[2, 3]] * 6,
            min_sizes=[34, 70, 105, 141, 177, 213],
            max_sizes=[70, 105, 141, 177, 213, 224],
        ),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2],
        ),
    ),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0.0,
            ignore_iof_thr=-1,
            gt_max_assign_all=False,
        ),
        sampler=dict(type='PseudoSampler'),
        smoothl1_beta=1.0,
        allowed_border=-1,
        pos_weight=-1,
        neg_pos_ratio=3,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=1000,
        nms=dict(type='nms', iou_threshold=0.45),
        min_bbox_size=0,
        score_thr=0.02,
        max_per_img=200,
    ),
)
default_hooks = dict(
    logger=dict(interval=17), memory_format=dict(type='mnv2_mm.ChannelsLastHook')
)
