# LiteRT, SSDLite, float32, with NMS as plain operators, for programs that lack
# TFLite_Detection_PostProcess: one image per run. Outputs: those of det.py.
_base_ = './det_litert_static.py'
codebase_config = dict(postprocess_op=False)
