# LiteRT, SSDLite, weights stored in float16: one image per run.
_base_ = ['./_base_/det.py', './_base_/litert.py']
backend_config = dict(precision='fp16')
