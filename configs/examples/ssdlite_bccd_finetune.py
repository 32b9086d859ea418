# Own data, detection, from trained weights: ssdlite_bccd.py on Google's
# ImageNet backbone. The weights are downloaded and converted at the first
# start.
_base_ = 'ssdlite_bccd.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            _delete_=True,
            type='Pretrained',
            checkpoint='mnv2_mm://mnv2_in1k',
            prefix='backbone.',
        )
    )
)
custom_hooks = [dict(type='mnv2_mm.UnfuseConvBNHook')]
