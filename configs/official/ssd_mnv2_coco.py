# Google's ssd_mobilenet_v2_coco of the Object Detection API's model zoo: plain SSD,
# whose extra levels are full 3x3 convolutions and whose predictors are 1x1 ones
# (kernel_size 1 in its pipeline.config; Table 5 of the paper counts 3x3:
# configs/table5/ssd_mobilenet_v2.py). For converted weights: see metafile.yml, or
# tools/convert_weights.py.
_base_ = './ssdlite_mnv2_coco.py'

model = dict(
    neck=dict(use_depthwise=False), bbox_head=dict(use_depthwise=False, kernel_size=1)
)
