# LiteRT, classification, float32: one image per run.
_base_ = ['./_base_/cls.py', './_base_/litert.py']
