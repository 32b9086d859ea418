# TensorRT for RTX, which has no NMS, SSDLite, float32: one image per run. Outputs:
# `boxes` (B, N, 4) in pixels, `scores` (B, N, C); the runtime does the NMS.
_base_ = ['./_base_/det.py', './_base_/tensorrt.py']
ir_config = dict(output_names=['boxes', 'scores'])
codebase_config = dict(with_nms=False)
