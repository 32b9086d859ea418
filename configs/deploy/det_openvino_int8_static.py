# OpenVINO, SSDLite, 8 bits: one image per run.
_base_ = ['./_base_/det.py', './_base_/onnxruntime_int8.py']
backend_config = dict(type='openvino')
