# ncnn, Mobile DeepLabv3, weights stored in float16: one image of 513x513 per run.
_base_ = ['./_base_/seg.py', './_base_/ncnn.py']
backend_config = dict(precision='fp16')
