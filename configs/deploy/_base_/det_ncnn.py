# SSDLite for ncnn: the graph ends in one layer, ncnn's DetectionOutput.
_base_ = './det.py'
ir_config = dict(output_names=['detections'])
