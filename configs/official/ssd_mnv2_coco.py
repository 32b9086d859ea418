# Google's ssd_mobilenet_v2_coco of the Object Detection API's model zoo: plain SSD,
# whose extra levels are full 3x3 convolutions and whose predictors are 1x1 ones
# (kernel_size 1 in its pipeline.config; Table 5 of the paper counts 3x3:
# configs/table5/ssd_mobilenet_v2.py). For converted weights: see metafile.yml, or
# tools/convert_weights.py.
_base_ = [
    '../_base_/models/ssdlite_mnv2.py',
    '../_base_/datasets/coco_det_r300.py',
    '../_base_/schedules/ssdlite_200k.py',
    '../_base_/runtime/det.py',
]

model = dict(
    neck=dict(use_depthwise=False),
    bbox_head=dict(
        use_depthwise=False, kernel_size=1, anchor_generator=dict(input_size=300)
    ),
)
