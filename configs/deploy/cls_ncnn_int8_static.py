# ncnn, classification, 8-bit convolutions: one image per run.
_base_ = ['./_base_/cls.py', './_base_/ncnn.py']
backend_config = dict(precision='int8')
