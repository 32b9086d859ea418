# YOLOv2 as released for COCO (yolov2.cfg): Darknet-19, passthrough of 64
# channels, five anchors. 50.963M parameters with BN and 14.73G multiply-adds
# at 416. Table 6 has 50.7M, which is this network with the 20 classes of VOC
# (50.655M), and 17.5B, which is an earlier one with 80 classes
# (model.neck.passthrough_channels=None: 67.445M, 17.501G).
#
# VOC: model.bbox_head.num_classes=20 and, as model.bbox_head.anchors, the
# VOC_ANCHORS of mnv2_mm/models/baselines/yolov2_region.py.
model = dict(
    _scope_='mmdet',
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[0.0, 0.0, 0.0],  # Darknet: x / 255
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_value=0.5,
    ),
    backbone=dict(type='mnv2_mm.Darknet19', out_indices=(4, 5)),
    neck=dict(
        type='mnv2_mm.YOLOv2Neck', in_channels=(512, 1024), passthrough_channels=64
    ),
    bbox_head=dict(
        type='mnv2_mm.YOLOv2Head',
        num_classes=80,
        in_channels=1024,
        anchors=(
            (0.57273, 0.677385),
            (1.87446, 2.06253),
            (3.33843, 5.47434),
            (7.88282, 3.52778),
            (9.77052, 9.16828),
        ),
        loss=dict(
            object_scale=5.0,
            noobject_scale=1.0,
            coord_scale=1.0,
            class_scale=1.0,
            ignore_iou=0.6,
            prior_images=12800,
        ),
    ),
    test_cfg=dict(
        nms_pre=1000,
        score_thr=0.005,  # Darknet's for mAP; 0.25 to look at images
        nms=dict(type='nms', iou_threshold=0.45),
        min_bbox_size=0,
        max_per_img=100,
    ),
)
