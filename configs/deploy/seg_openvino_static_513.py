# OpenVINO, Mobile DeepLabv3, float32: one image of 513x513 per run.
_base_ = ['./_base_/seg.py', './_base_/openvino.py']
