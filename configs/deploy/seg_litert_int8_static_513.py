# LiteRT, Mobile DeepLabv3, 8 bits: one image of 513x513 per run.
_base_ = ['./_base_/seg_litert.py', './_base_/litert.py']
backend_config = dict(precision='int8', calibration_images=100)
