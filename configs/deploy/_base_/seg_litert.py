# Mobile DeepLabv3 for LiteRT: logits at the size of the input, since MediaPipe takes
# the best class before it resizes to the image.
_base_ = './seg.py'
codebase_config = dict(with_resize=True)
