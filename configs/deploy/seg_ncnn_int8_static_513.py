# ncnn, Mobile DeepLabv3, 8-bit convolutions: one image of 513x513 per run.
_base_ = ['./_base_/seg.py', './_base_/ncnn.py']
backend_config = dict(precision='int8')
