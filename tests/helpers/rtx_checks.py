"""Parse and build ONNX files with NVIDIA's TensorRT for RTX; needs no GPU.

    python rtx_checks.py build_engine.py parse|build FILE...

Run in an environment with ``tensorrt_rtx`` and numpy alone, which the fixture ``rtx``
of tests/deploy/tensorrt/test_rtx.py makes. The network is parsed by ``parse`` of
build_engine.py. A line of JSON for each file is written to standard output.
"""

import importlib.util
import json
import sys

import tensorrt_rtx as trt


class Log(trt.ILogger):
    """Keeps warnings and errors."""

    def __init__(self):
        trt.ILogger.__init__(self)
        self.lines = []

    def log(self, severity, text):
        if severity <= trt.ILogger.Severity.WARNING:
            self.lines.append(text)


def described(tensor):
    """Shape and type of a tensor; -1 stands for a dynamic axis."""
    return [list(tensor.shape), tensor.dtype.name]


def check(script, log, path, build):
    """What the library says of a file."""
    log.lines.clear()
    builder = script._start(trt, trt.Builder)
    try:
        network, _parser = script.parse(trt, 10, builder, path)
    except script.EngineError as error:
        return dict(error=str(error), log=log.lines)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    limits = []
    for layer in layers:
        if layer.type == trt.LayerType.NMS:
            layer.__class__ = trt.INMSLayer
            limits.append(layer.topk_box_limit)
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    found = dict(
        error='',
        inputs={x.name: described(x) for x in inputs},
        outputs={x.name: described(x) for x in outputs},
        nms_limits=limits,
    )
    if build:
        plan = builder.build_serialized_network(
            network, builder.create_builder_config()
        )
        found['bytes'] = 0 if plan is None else plan.nbytes
    return found | dict(log=log.lines)


def main():
    file, what, *paths = sys.argv[1:]
    spec = importlib.util.spec_from_file_location('build_engine', file)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    log = Log()
    script._logger = lambda _: log
    for path in paths:
        print(json.dumps(check(script, log, script.Path(path), what == 'build')))


if __name__ == '__main__':
    main()
