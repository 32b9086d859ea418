# ncnn, SSDLite, float32: one image per run.
_base_ = ['./_base_/det_ncnn.py', './_base_/ncnn.py']
