# LiteRT, SSDLite, 8 bits: one image per run.
_base_ = ['./_base_/det.py', './_base_/litert.py']
backend_config = dict(precision='int8', calibration_images=100)
