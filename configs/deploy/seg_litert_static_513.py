# LiteRT, Mobile DeepLabv3, float32: one image of 513x513 per run.
_base_ = ['./_base_/seg_litert.py', './_base_/litert.py']
