# LiteRT, one .tflite file that Google's clients read too: labels and metadata are
# in it. One image per run. precision='fp16' stores the weights in float16,
# precision='int8' computes in 8 bits, calibrated with 100 images of the training
# set of the model config.
backend_config = dict(type='litert', precision='fp32')
