# TensorRT, 1 to 8 images per run; the engine is tuned for 4.
_base_ = './tensorrt.py'
backend_config = dict(batch=dict(min=1, opt=4, max=8))
