# Figure 5, width 1 at 96 pixels. The official release states 60.3 %
# top-1 and 56M multiply-adds for it; its classifier has 1001 classes.
_base_ = '../mnv2_in1k.py'

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[1].scale = test_pipeline[2].scale = 96
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
model = dict(backbone=dict(widen_factor=1.0), head=dict(in_channels=1280))
