# ncnn, SSDLite, weights stored in float16: one image per run.
_base_ = ['./_base_/det_ncnn.py', './_base_/ncnn.py']
backend_config = dict(precision='fp16')
