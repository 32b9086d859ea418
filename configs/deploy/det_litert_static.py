# LiteRT, SSDLite, float32: one image per run.
_base_ = ['./_base_/det.py', './_base_/litert.py']
