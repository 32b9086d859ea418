# ncnn, a .param and a .bin file of ncnn's own layers; one image per run.
# precision='fp16' stores the weights in float16, precision='int8' runs the
# convolutions in 8 bits, calibrated with 100 images of the training set of
# the model config.
backend_config = dict(type='ncnn', precision='fp32')
