"""Make the TensorRT engine of a build on the machine with the GPU, and run it.

This one file is all that machine needs besides Python, numpy and NVIDIA's
``tensorrt`` (8.6, 10 or 11). tools/deploy.py puts a copy of it into the
folder of every TensorRT build, as ``build_engine.py``:

    python build_engine.py            # in the folder, or: FOLDER as argument

It reads end2end.trt.json (shapes, precision, workspace), makes
end2end.engine of end2end.onnx, runs it on the reference input, says how far
the outputs are from those of onnxruntime, and how long a run takes. It ends
with 1 where the difference is more than rounding, with 2 where something is
missing.

The precision is in the ONNX file: float32, float16, or 8 bits as pairs of
QuantizeLinear and DequantizeLinear. TensorRT 10 and 11 follow the types of
the file (a strongly typed network); 8.6 is told by flags which it may use.

Memory of the GPU comes from the driver's own library by ctypes, which is
there wherever TensorRT runs; neither PyCUDA nor PyTorch is needed.
"""

import argparse
import ctypes
import functools
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

#: What describes a TensorRT build, beside its ONNX file.
JSON = 'end2end.trt.json'
#: How far outputs may be from onnxruntime's, as a share of the largest
#: number of the output, and the share of detections that must be found
#: again. Coarse on purpose: they tell a wrong engine from rounding.
BOUNDS = {'fp32': 0.005, 'fp16': 0.05, 'int8': 0.25}
MATCHED = 0.9


class EngineError(RuntimeError):
    """What is missing or wrong, with the remedy, in one message."""


# ------------------------------------------------------------ the libraries
def known(version: str) -> bool:
    """Whether the calls here are those of a version of TensorRT."""
    major, minor = map(int, version.split('.')[:2])
    return (major, minor) >= (8, 6) and major in (8, 10, 11)


def load() -> tuple[ModuleType, int]:
    """The package tensorrt, and the number before the dot of its version.

    Raises:
        EngineError: it is missing, or of a version that is not known here.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise EngineError(
            f'TensorRT cannot be imported ({error}); it is on the machine '
            'with the GPU: pip install tensorrt, or on a Jetson with JetPack'
        ) from error
    if not known(tensorrt.__version__):
        raise EngineError(
            f'TensorRT is {tensorrt.__version__}, and the calls here are '
            'those of 8.6, 10 and 11; install one of them'
        )
    return tensorrt, int(tensorrt.__version__.partition('.')[0])


_POINTER = ctypes.POINTER(ctypes.c_void_p)
_ADDRESS = ctypes.c_uint64  # CUdeviceptr
#: Functions of the CUDA driver; all return 0 or the number of an error.
_CUDA = {
    'cuInit': (ctypes.c_uint,),
    'cuDeviceGet': (ctypes.POINTER(ctypes.c_int), ctypes.c_int),
    'cuDeviceGetName': (ctypes.c_char_p, ctypes.c_int, ctypes.c_int),
    'cuDevicePrimaryCtxRetain': (_POINTER, ctypes.c_int),
    'cuCtxSetCurrent': (ctypes.c_void_p,),
    'cuStreamCreate': (_POINTER, ctypes.c_uint),
    'cuStreamSynchronize': (ctypes.c_void_p,),
    'cuMemAlloc_v2': (ctypes.POINTER(_ADDRESS), ctypes.c_size_t),
    'cuMemFree_v2': (_ADDRESS,),
    'cuMemcpyHtoDAsync_v2': (
        _ADDRESS,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
    ),
    'cuMemcpyDtoHAsync_v2': (
        ctypes.c_void_p,
        _ADDRESS,
        ctypes.c_size_t,
        ctypes.c_void_p,
    ),
}


class Cuda:
    """Memory and a stream of the first GPU, by the driver's library.

    The context is the primary one, which TensorRT and PyTorch use too.

    Raises:
        EngineError: there is no driver or no GPU.
    """

    def __init__(self) -> None:
        name = 'nvcuda.dll' if os.name == 'nt' else 'libcuda.so.1'
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise EngineError(
                f'there is no NVIDIA driver here ({error}); an engine is made '
                'and run on the machine with the GPU'
            ) from error
        for function, kinds in _CUDA.items():
            getattr(self._library, function).argtypes = kinds
        self._device = ctypes.c_int()
        context, self._stream = ctypes.c_void_p(), ctypes.c_void_p()
        self._call('cuInit', 0)
        self._call('cuDeviceGet', ctypes.byref(self._device), 0)
        self._call('cuDevicePrimaryCtxRetain', ctypes.byref(context), self._device)
        self._call('cuCtxSetCurrent', context)
        self._call('cuStreamCreate', ctypes.byref(self._stream), 1)

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            raise EngineError(
                f'the NVIDIA driver answers {function} with error {code}; '
                '`nvidia-smi` says whether the GPU can be used'
            )

    @property
    def name(self) -> str:
        """Name of the GPU."""
        text = ctypes.create_string_buffer(256)
        self._call('cuDeviceGetName', text, len(text), self._device)
        return text.value.decode(errors='replace')

    @property
    def stream(self) -> int:
        """Handle of the stream on which everything here happens."""
        return self._stream.value

    def allocate(self, size: int) -> int:
        """Address of so many bytes."""
        address = _ADDRESS()
        self._call('cuMemAlloc_v2', ctypes.byref(address), max(size, 1))
        return address.value

    def free(self, address: int) -> None:
        """Give memory back; at the end of a process it has gone already."""
        self._library.cuMemFree_v2(address)

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy a contiguous array to the GPU."""
        self._call(
            'cuMemcpyHtoDAsync_v2',
            address,
            array.ctypes.data,
            array.nbytes,
            self._stream,
        )

    def download(self, array: np.ndarray, address: int) -> None:
        """Copy from the GPU into a contiguous array."""
        self._call(
            'cuMemcpyDtoHAsync_v2',
            array.ctypes.data,
            address,
            array.nbytes,
            self._stream,
        )

    def wait(self) -> None:
        """Wait until all is done."""
        self._call('cuStreamSynchronize', self._stream)


# ---------------------------------------------------------------- an engine
def build(folder: Path, spec: Mapping) -> bytes:
    """Make the engine of an ONNX file.

    Args:
        folder: Where the file is.
        spec: Content of end2end.trt.json.

    Raises:
        EngineError: no TensorRT, no GPU, or TensorRT refuses the graph.
    """
    trt, major = load()
    Cuda()  # TensorRT itself only says that it returned nothing
    builder = _start(trt, trt.Builder)
    kinds, flags = trt.NetworkDefinitionCreationFlag, 0
    if major == 8:
        flags = 1 << int(kinds.EXPLICIT_BATCH)
    elif major == 10:  # of 11 on, there is no other network
        flags = 1 << int(kinds.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, _logger(trt))
    if not parser.parse_from_file(str(folder / spec['onnx'])):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        raise EngineError(
            f'TensorRT {trt.__version__} does not take {spec["onnx"]}: '
            + '; '.join(error.desc() for error in errors)
        )
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, spec['workspace'])
    if not spec['tf32']:  # on by default, with 10 bits for the fraction
        config.clear_flag(trt.BuilderFlag.TF32)
    if major == 8:
        _allow(trt, network, config, spec['precision'])
    profile = builder.create_optimization_profile()
    for name, shapes in spec['inputs'].items():
        profile.set_shape(name, *(shapes[k] for k in ('min', 'opt', 'max')))
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(
            f'TensorRT does not take the shapes in {JSON}: {spec["inputs"]}'
        )
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(
            'TensorRT could not build the engine and has said why above; if '
            f'it lacked memory, lower "workspace" in {JSON}'
        )
    return bytes(plan)


@functools.cache
def _logger(trt: ModuleType) -> object:
    """The one logger; TensorRT keeps the first of a process for itself."""
    return trt.Logger(trt.Logger.WARNING)


def _start(trt: ModuleType, kind: type) -> object:
    """A Builder or a Runtime; where there is none, pybind11 complains."""
    try:
        return kind(_logger(trt))
    except TypeError as error:
        raise EngineError(
            f'TensorRT cannot start on this GPU ({error}); as a rule the '
            "driver is older than TensorRT's CUDA, which `nvidia-smi` says"
        ) from error


def _allow(trt: ModuleType, network: object, config: object, precision: str) -> None:
    """Tell TensorRT 8.6, which sees types as hints, what it may use."""
    if precision == 'int8':
        config.set_flag(trt.BuilderFlag.INT8)
    if precision == 'fp16':
        config.set_flag(trt.BuilderFlag.FP16)
        # else decoding and NMS might be done in float16 too
        config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            if layer.num_inputs and layer.num_outputs:
                kinds = layer.get_input(0).dtype, layer.get_output(0).dtype
                if set(kinds) == {trt.DataType.FLOAT}:
                    layer.precision = trt.DataType.FLOAT


class Engine:
    """An engine that runs on arrays.

    Args:
        data: Content of the .engine file.

    Raises:
        EngineError: no TensorRT, no GPU, or an engine of another TensorRT
            or another GPU.
    """

    def __init__(self, data: bytes) -> None:
        trt, _ = load()
        self.cuda = Cuda()
        self._runtime = _start(trt, trt.Runtime)  # outlives its engine
        self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise EngineError(
                f'TensorRT {trt.__version__} does not take the engine on this '
                f'{self.cuda.name}; it was made by another TensorRT or for '
                'another GPU: run build_engine.py here'
            )
        self._context = self._engine.create_execution_context()
        names = [
            self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)
        ]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        self.inputs = [n for n in names if modes[n] == trt.TensorIOMode.INPUT]
        self.outputs = {
            n: np.dtype(trt.nptype(self._engine.get_tensor_dtype(n)))
            for n in names
            if modes[n] == trt.TensorIOMode.OUTPUT
        }
        self._memory: dict[str, tuple[int, int]] = {}

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run once.

        Args:
            inputs: (B, 3, H, W) float32.

        Returns:
            Arrays by name.

        Raises:
            EngineError: a shape outside of what the engine was made for.
        """
        (name,) = self.inputs
        inputs = np.ascontiguousarray(inputs, np.float32)
        if not self._context.set_input_shape(name, inputs.shape):
            least, _, most = self._engine.get_tensor_profile_shape(name, 0)
            raise EngineError(
                f'the engine takes {tuple(least)} to {tuple(most)}, not '
                f'{inputs.shape}; other sizes: "inputs" in {JSON}, then '
                'build_engine.py'
            )
        self.cuda.upload(self._place(name, inputs.nbytes), inputs)
        found = {}
        for output, kind in self.outputs.items():
            shape = tuple(self._context.get_tensor_shape(output))
            if min(shape, default=1) < 0:
                raise EngineError(
                    f'{output} has the size {shape}, in which -1 is known to '
                    'the engine alone; the ONNX file has to state it'
                )
            found[output] = np.empty(shape, kind)
            self._place(output, found[output].nbytes)
        if not self._context.execute_async_v3(self.cuda.stream):
            raise EngineError('TensorRT could not run and has said why above')
        for output, array in found.items():
            self.cuda.download(array, self._memory[output][0])
        self.cuda.wait()
        return found

    def _place(self, name: str, size: int) -> int:
        """Address of a tensor's memory, which grows where needed."""
        address, room = self._memory.get(name, (0, -1))
        if size > room:
            if room >= 0:
                self.cuda.free(address)
            address = self.cuda.allocate(size)
            self._memory[name] = address, size
            self._context.set_tensor_address(name, address)
        return address

    def __del__(self) -> None:
        for address, _ in getattr(self, '_memory', {}).values():
            self.cuda.free(address)


# --------------------------------------------------------------- comparison
def match(
    first: Mapping, second: Mapping, least: float = 0.05
) -> tuple[int, int, float, float]:
    """Match detections of one image, each with the nearest of its class.

    Detections are matched within 32 px and a score of 0.5, so that small
    differences can be told from other detections.

    Args:
        first: ``boxes``, ``scores``, ``labels`` of the reference.
        second: Of what is compared with it.
        least: Scores of the reference from which detections count.

    Returns:
        How many count, how many of them have a match, and the largest
        differences of those, of a side in pixels and of a score.
    """
    chosen = np.flatnonzero(first['scores'] > least)
    free = np.ones(len(second['scores']), bool)
    boxes, scores = [0.0], [0.0]
    for i in chosen:
        side = np.abs(second['boxes'] - first['boxes'][i]).max(1, initial=0)
        gap = np.abs(second['scores'] - first['scores'][i])
        fits = free & (second['labels'] == first['labels'][i])
        fits &= (side < 32) & (gap < 0.5)
        if not fits.any():
            continue
        j = np.flatnonzero(fits)[np.argmin((side + gap)[fits])]
        free[j] = False
        boxes.append(float(side[j]))
        scores.append(float(gap[j]))
    return len(chosen), len(boxes) - 1, max(boxes), max(scores)


def compare(wanted: Mapping, found: Mapping, precision: str) -> tuple[list[str], bool]:
    """How far outputs are from the reference.

    Args:
        wanted: Arrays by name, of onnxruntime.
        found: Of the engine.
        precision: 'fp32', 'fp16' or 'int8'.

    Returns:
        A line for each output, and whether the difference is rounding.
    """
    if set(wanted) != set(found):
        names = f'{", ".join(found)} instead of {", ".join(wanted)}'
        return [f'the engine has the outputs {names}'], False
    shapes = [n for n in wanted if wanted[n].shape != found[n].shape]
    if shapes:
        n = shapes[0]
        return [f'{n}: {found[n].shape}, not {wanted[n].shape}'], False
    if 'dets' in wanted:
        return _compare_detections(wanted, found)
    lines, good = [], True
    for name, first in wanted.items():
        second = found[name]
        if not np.issubdtype(first.dtype, np.floating):  # a map of classes
            share = float((first != second).mean())
            lines.append(f'{name}: {share:.3%} of the numbers differ')
            good &= share <= BOUNDS[precision]
            continue
        gap = float(np.abs(first - second.astype(first.dtype)).max())
        largest = float(np.abs(first).max())
        lines.append(f'{name}: largest difference {gap:.2g} of {largest:.3g}')
        good &= gap <= BOUNDS[precision] * largest  # false for NaN too
    return lines, bool(good)


def _compare_detections(wanted: Mapping, found: Mapping) -> tuple[list[str], bool]:
    """Image by image; the order of detections is nobody's promise."""
    lines, good = [], True
    for i in range(len(wanted['dets'])):
        first, second = (
            {
                'boxes': side['dets'][i, :, :4],
                'scores': side['dets'][i, :, 4],
                'labels': side['labels'][i],
            }
            for side in (wanted, found)
        )
        counted, matched, box, score = match(first, second)
        lines.append(
            f'dets, labels: {matched} of {counted} detections over 0.05 '
            f'found, largest difference {box:.2g} px, {score:.2g} in score'
        )
        good &= matched >= MATCHED * counted
    return lines, good


# --------------------------------------------------------- the command line
def read(folder: Path) -> dict:
    """Content of end2end.trt.json.

    Raises:
        EngineError: there is none, or a file that it names is missing.
    """
    if not (folder / JSON).is_file():
        raise EngineError(
            f'there is no {JSON} in {folder}; give the folder of a TensorRT '
            'build that tools/deploy.py has made'
        )
    spec = json.loads((folder / JSON).read_text(encoding='utf-8'))
    for key in ('onnx', 'reference'):
        if not (folder / spec[key]).is_file():
            raise EngineError(
                f'{folder} lacks {spec[key]}, which {JSON} names; copy the '
                'whole folder of a build'
            )
    return spec


def make(folder: Path, runs: int) -> bool:
    """Make, run, compare and time the engine of a build; prints all of it.

    Returns:
        Whether the engine computes what onnxruntime does.
    """
    spec = read(folder)
    trt, _ = load()
    print(f'TensorRT {trt.__version__}, {Cuda().name}', flush=True)
    started = time.perf_counter()
    data = build(folder, spec)
    spent = time.perf_counter() - started
    target = folder / spec['engine']
    partial = target.with_name(target.name + '.unfinished')
    partial.write_bytes(data)
    os.replace(partial, target)
    size = f'{len(data) / 1e6:.2f} MB'
    print(f'{spec["precision"]} engine of {size} in {spent:.0f} s: {target}')
    with np.load(folder / spec['reference']) as arrays:
        inputs = arrays['input']
        wanted = {name: arrays[name] for name in spec['outputs']}
    engine = Engine(data)
    lines, good = compare(wanted, engine(inputs), spec['precision'])
    print('\n'.join(lines))
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        engine(inputs)
        times.append(1000 * (time.perf_counter() - started))
    print(
        f'median of {runs} runs {statistics.median(times):.2f} ms, of '
        f'{len(inputs)} image{"s" * (len(inputs) > 1)}, with the copies to '
        'and from the GPU'
    )
    return good


def main() -> int:
    """Read the command line, make the engine; 0 where it is right."""
    parser = argparse.ArgumentParser(
        description='Make and check the TensorRT engine of a build'
    )
    parser.add_argument(
        'folder',
        nargs='?',
        type=Path,
        default=Path(__file__).resolve().parent,
        help='folder of the build (default: where this file is)',
    )
    parser.add_argument(
        '--runs', type=int, default=100, help='runs to time (default: 100)'
    )
    args = parser.parse_args()
    try:
        good = make(args.folder, max(args.runs, 30))
    except EngineError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    if not good:
        print(
            'error: the engine computes something else than onnxruntime does '
            'from the same file; do not use it',
            file=sys.stderr,
        )
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
