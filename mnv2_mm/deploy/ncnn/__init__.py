"""Export to ncnn: the .param and .bin file, written from an ONNX graph.

``mnv2_mm.deploy.ncnn.write.write(model, 'ssdlite.param', 'ssdlite.bin')``
"""
