# LiteRT, Mobile DeepLabv3, weights stored in float16: one image of 513x513 per run.
_base_ = ['./_base_/seg_litert.py', './_base_/litert.py']
backend_config = dict(precision='fp16')
