# OpenVINO, classification, float32: one image per run.
_base_ = ['./_base_/cls.py', './_base_/openvino.py']
