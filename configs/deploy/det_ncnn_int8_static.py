# ncnn, SSDLite, 8-bit convolutions: one image per run.
_base_ = ['./_base_/det_ncnn.py', './_base_/ncnn.py']
backend_config = dict(precision='int8')
