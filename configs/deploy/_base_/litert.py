# LiteRT, one .tflite file that Google's clients read too: labels and metadata are
# in it. One image per run. precision='fp16' stores the weights in float16,
# precision='int8' computes in 8 bits, calibrated with 100 images of the training
# set of the model config; with uint8=True the file then takes pixels as they are, and
# a classifier or a segmentor gives uint8.
backend_config = dict(type='litert', precision='fp32', uint8=False)
