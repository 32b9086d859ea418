"""A strict stand-in for NVIDIA's tensorrt, whose engines onnxruntime runs.

Its classes are those of a stub in tests/helpers/tensorrt_stubs: a name, an
argument or a type that the stub lacks raises. They keep the rules of NVIDIA's
documents for the version: which networks are typed, what flags must allow,
which shapes a profile covers. Memory is that of tests/helpers/fake_cuda.py.
"""

import ctypes
import pickle
import sys
import weakref
from pathlib import Path

import fake_cuda
import numpy as np
import pytest
import strict_stub

STUBS = Path(__file__).with_name('tensorrt_stubs')
VERSIONS = {'8.6.1': '8_6', '10.16.1.11': '10', '11.4.0.106': '11'}


class Logger:
    """TensorRT keeps the first logger, which must not go or change."""

    first = None

    def __init__(self, min_severity=None):
        assert Logger.first is None or Logger.first() is None, 'two loggers'
        assert Logger.first is None, 'the logger that TensorRT keeps is gone'
        Logger.first = weakref.ref(self)


class HostMemory:
    def __init__(self, data):
        self.data = data

    def __bytes__(self):
        return self.data


class Tensor:
    def __init__(self, dtype):
        self.dtype = dtype


class Layer:
    def __init__(self, module, node, types):
        kinds = {1: 'FLOAT', 10: 'HALF', 3: 'INT8', 6: 'INT32', 7: 'INT32'}
        kinds[9] = 'BOOL'
        self.name, self.precision = node.name, None

        def tensors(names):
            known = [types.get(name) for name in names]
            return [
                Tensor(module.DataType[kinds[kind]]) if kind else None for kind in known
            ]

        self.inputs, self.outputs = tensors(node.input), tensors(node.output)

    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))

    def get_input(self, index):
        return self.inputs[index]

    def get_output(self, index):
        return self.outputs[index]


class Network:
    def __init__(self, module, flags):
        kinds = module.NetworkDefinitionCreationFlag
        major = int(module.__version__.split('.')[0])
        asked = [kind.name for kind in kinds if flags >> int(kind) & 1]
        self.module, self.model, self.layers = module, None, []
        self.batched = major > 8 or 'EXPLICIT_BATCH' in asked
        self.typed = major > 10 or 'STRONGLY_TYPED' in asked
        self.major = major

    num_layers = property(lambda self: len(self.layers))

    def get_layer(self, index):
        return self.layers[index]

    def take(self, model):
        import onnx

        graph = onnx.shape_inference.infer_shapes(model).graph
        types = {t.name: t.data_type for t in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            types[value.name] = value.type.tensor_type.elem_type
        self.model = model
        self.layers = [Layer(self.module, node, types) for node in graph.node]


class ParserError:
    def __init__(self, text):
        self.text = text

    def desc(self):
        return self.text


class OnnxParser:
    def __init__(self, network, logger):
        self.network, self.errors = network, []

    num_errors = property(lambda self: len(self.errors))

    def get_error(self, index):
        return ParserError(self.errors[index])

    def parse_from_file(self, model):
        import onnx

        loaded = onnx.load(model)
        if not self.network.batched:
            self.errors.append('the network has an implicit batch')
        self.errors += [
            f'No importer registered for op: {node.op_type}'
            for node in loaded.graph.node
            if node.domain
        ]
        known = {t.name for t in loaded.graph.initializer}
        self.errors += [
            'K of TopK is no initializer'
            for node in loaded.graph.node
            if node.op_type == 'TopK' and node.input[1] not in known
        ]
        self.network.take(loaded)
        return not self.errors


class BuilderConfig:
    def __init__(self):
        self.flags, self.profiles, self.workspace = {'TF32'}, [], None

    def set_memory_pool_limit(self, pool, pool_size):
        self.workspace = pool_size

    def set_flag(self, flag):
        self.flags.add(flag.name)

    def clear_flag(self, flag):
        self.flags.discard(flag.name)

    def add_optimization_profile(self, profile):
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1


class OptimizationProfile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, input, min, opt, max):
        self.shapes[input] = tuple(min), tuple(opt), tuple(max)


class Builder:
    #: Of the engines that were built, for the tests to look at.
    made = []  # noqa: RUF012

    def __init__(self, logger):
        self.module = None

    def create_network(self, flags=0):
        return Network(self.module, flags)

    def create_builder_config(self):
        return BuilderConfig()

    def create_optimization_profile(self):
        return OptimizationProfile()

    def build_serialized_network(self, network, config):
        flags, model = config.flags, network.model
        precise = flags - {'TF32', 'PREFER_PRECISION_CONSTRAINTS'}
        if network.typed and precise:
            return None  # flags that contradict the types
        kinds = {node.op_type for node in model.graph.node}
        weights = {t.data_type for t in model.graph.initializer}
        if not network.typed:
            if 'QuantizeLinear' in kinds and 'INT8' not in flags:
                return None
            if 10 in weights and 'FP16' not in flags:
                return None
        (shapes,) = config.profiles
        for value in model.graph.input:
            dims = value.type.tensor_type.shape.dim
            for shape in shapes[value.name]:
                fixed = [
                    d.dim_value or size for d, size in zip(dims, shape, strict=True)
                ]
                if fixed != list(shape):
                    return None
        Builder.made.append((network, config))
        plan = self.module.__version__, model.SerializeToString(), shapes
        return HostMemory(pickle.dumps(plan))


class ExecutionContext:
    def __init__(self, engine):
        self.engine, self.shape, self.addresses = engine, None, {}

    def set_input_shape(self, name, shape):
        least, _, most = self.engine.shapes[name]
        fits = len(shape) == len(least) and all(
            low <= side <= high
            for low, side, high in zip(least, shape, most, strict=True)
        )
        self.shape = tuple(shape) if fits else self.shape
        return fits

    def get_tensor_shape(self, name):
        if name in self.engine.shapes:
            return self.shape
        sizes = self.engine.sizes[name]
        return (self.shape[0] if sizes[0] is None else sizes[0], *sizes[1:])

    def set_tensor_address(self, name, memory):
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        if set(self.addresses) != set(self.engine.names):
            return False
        cuda = fake_cuda.DRIVER
        shape, addresses = self.shape, dict(self.addresses)

        def run():
            (name,) = self.engine.shapes
            size = 4 * int(np.prod(shape))
            data = cuda.read(addresses[name], size)
            array = np.frombuffer(data, np.float32).reshape(shape)
            outputs = self.engine.session.run(None, {name: array})
            for found, value in zip(
                self.engine.session.get_outputs(), outputs, strict=True
            ):
                kind = self.engine.numpy_type(found.name)
                cuda.write(addresses[found.name], value.astype(kind).tobytes())

        cuda.enqueue(stream_handle, run)
        return True


class CudaEngine:
    def __init__(self, module, model, shapes):
        import onnxruntime

        self.module, self.shapes = module, shapes
        options = onnxruntime.SessionOptions()
        # without it, sums of 8-bit products overflow on processors without VNNI
        options.add_session_config_entry('session.x64quantprecision', '1')
        self.session = onnxruntime.InferenceSession(
            model, options, providers=['CPUExecutionProvider']
        )
        outputs = self.session.get_outputs()
        self.sizes = {
            o.name: [s if isinstance(s, int) else None for s in o.shape]
            for o in outputs
        }
        self.types = {o.name: o.type for o in outputs}
        # nobody promises that inputs come first
        self.names = [*self.sizes, *shapes]

    num_io_tensors = property(lambda self: len(self.names))

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_mode(self, name):
        kinds = self.module.TensorIOMode
        return kinds.INPUT if name in self.shapes else kinds.OUTPUT

    def get_tensor_dtype(self, name):
        kinds = self.module.DataType
        if self.types.get(name) == 'tensor(int64)':
            # until 9 the parser made 32 bits of 64
            return getattr(kinds, 'INT64', kinds.INT32)
        return kinds.FLOAT

    def numpy_type(self, name):
        return self.module.nptype(self.get_tensor_dtype(name))

    def get_tensor_profile_shape(self, name, profile_index):
        return list(self.shapes[name])

    def create_execution_context(self):
        return ExecutionContext(self)


class Runtime:
    def __init__(self, logger):
        self.module = None

    def deserialize_cuda_engine(self, serialized_engine):
        version, model, shapes = pickle.loads(serialized_engine)
        if version != self.module.__version__:
            return None
        return CudaEngine(self.module, model, shapes)


def nptype(trt_type):
    names = {'FLOAT': np.float32, 'HALF': np.float16, 'INT8': np.int8}
    names |= {'INT32': np.int32, 'INT64': np.int64, 'BOOL': np.bool_}
    return names[trt_type.name]


BEHIND = {
    'Logger': Logger,
    'IHostMemory': HostMemory,
    'ITensor': Tensor,
    'ILayer': Layer,
    'INetworkDefinition': Network,
    'ParserError': ParserError,
    'OnnxParser': OnnxParser,
    'IBuilderConfig': BuilderConfig,
    'IOptimizationProfile': OptimizationProfile,
    'Builder': Builder,
    'IExecutionContext': ExecutionContext,
    'ICudaEngine': CudaEngine,
    'Runtime': Runtime,
    'nptype': nptype,
}


def make(version):
    """The module ``tensorrt`` of a version."""
    return strict_stub.make(
        STUBS / f'tensorrt_{VERSIONS[version]}.pyi', 'tensorrt', BEHIND, version
    )


@pytest.fixture
def gpu(monkeypatch):
    """Have a GPU and a version of TensorRT in this process."""

    def use(version='10.16.1.11', fails=()):
        module = make(version)
        monkeypatch.setitem(sys.modules, 'tensorrt', module)
        monkeypatch.setattr(fake_cuda, 'DRIVER', fake_cuda.Driver(fails))
        monkeypatch.setattr(ctypes, 'CDLL', fake_cuda.load)
        Builder.made.clear()
        Logger.first = None  # as in a new process
        return module

    return use
