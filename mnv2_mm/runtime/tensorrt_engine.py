"""Build the TensorRT engine of an exported model on the machine with the GPU.

This file is all that machine needs besides Python, numpy and NVIDIA's
``tensorrt`` (8.6, 10 or 11), so it imports nothing else. tools/export.py
copies it as ``build_engine.py`` into the folder of every TensorRT model:

    python build_engine.py            # in the folder, or: FOLDER as argument

It builds the engine from the ONNX file as end2end.trt.json says, runs it on
the reference input, compares the outputs with those of onnxruntime, and times
it. The exit code is 1 if the difference is more than rounding, 2 if something
is missing.

    python build_engine.py --rtx --capability 8.6 8.9

builds an engine of TensorRT for RTX (``tensorrt_rtx`` 1) instead, ahead of time:
no GPU is needed, so nothing is run or compared. RTX has no layer for NMS; export a
detector with det_tensorrt_rtx_static.

The precision is in the ONNX file: float32, float16, or int8 as pairs of
QuantizeLinear and DequantizeLinear. TensorRT 10 and 11 follow the types of
the file (a strongly typed network); 8.6 is told by flags which it may use.
GPU memory comes from the driver's library through ctypes.
"""

import argparse
import ctypes
import functools
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_void_p
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

#: Name of the description beside the ONNX file.
JSON = 'end2end.trt.json'
#: Largest difference as a share of the largest number of an output, and the share
#: of detections that must match, of the reference's and of the engine's. Coarse: they
#: tell a wrong engine from rounding.
BOUNDS = {'fp32': 0.005, 'fp16': 0.05, 'int8': 0.25}
MATCHED = 0.9


class EngineError(RuntimeError):
    """Something is missing or wrong; the message names the remedy."""


def known(version: str) -> bool:
    """Whether a version of TensorRT has the calls of this file."""
    major, minor = map(int, version.split('.')[:2])
    return (major, minor) >= (8, 6) and major in (8, 10, 11)


def load(rtx: bool = False) -> tuple[ModuleType, int]:
    """The package and the major version of TensorRT whose calls it has.

    TensorRT for RTX, by ``rtx``, has those of TensorRT 10 that are used here.
    """
    if rtx:
        try:
            import tensorrt_rtx
        except ImportError as error:
            raise EngineError(
                f'TensorRT for RTX cannot be imported ({error}): pip install '
                'tensorrt-rtx-cu12'
            ) from error
        if not tensorrt_rtx.__version__.startswith('1.'):
            raise EngineError(
                f'TensorRT for RTX is {tensorrt_rtx.__version__}, but only 1 is '
                'supported; install that'
            )
        return tensorrt_rtx, 10
    try:
        import tensorrt
    except ImportError as error:
        raise EngineError(
            f'TensorRT cannot be imported ({error}); on the machine with the '
            'GPU: pip install tensorrt, or on a Jetson with JetPack'
        ) from error
    if not known(tensorrt.__version__):
        raise EngineError(
            f'TensorRT is {tensorrt.__version__}, but only 8.6, 10 and 11 are '
            'supported; install one of them'
        )
    return tensorrt, int(tensorrt.__version__.partition('.')[0])


def build(
    folder: Path, spec: Mapping, *, rtx: bool = False, capabilities: Sequence[str] = ()
) -> bytes:
    """Build the engine that end2end.trt.json describes; makes no CUDA call.

    Args:
        folder: Folder of the model.
        spec: Content of end2end.trt.json.
        rtx: Build for TensorRT for RTX.
        capabilities: Compute capabilities that the engine of RTX is for, as
            ``'8.6'``; without, those that the library chooses.
    """
    trt, major = load(rtx)
    builder = _start(trt, trt.Builder)
    network, _ = parse(trt, major, builder, folder / spec['onnx'])
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, spec['workspace'])
    if not spec['tf32']:  # on by default, with 10 bits for the fraction
        config.clear_flag(trt.BuilderFlag.TF32)
    if major == 8:
        _allow_precision(trt, network, config, spec['precision'])
    if capabilities:
        _set_capabilities(trt, config, capabilities)
    profile = builder.create_optimization_profile()
    for name, shapes in spec['inputs'].items():
        profile.set_shape(name, *(shapes[k] for k in ('min', 'opt', 'max')))
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(
            f'TensorRT does not accept the shapes in {JSON}: {spec["inputs"]}'
        )
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        text = f'if it lacked memory, lower "workspace" in {JSON}'
        if rtx and 'dets' in spec['outputs']:
            text = 'RTX has no NMS, export with det_tensorrt_rtx_static'
        raise EngineError(f'TensorRT could not build the engine, see above; {text}')
    return bytes(plan)


def parse(trt: ModuleType, major: int, builder: Any, path: Path) -> tuple[Any, Any]:
    """The network of an ONNX file, and its parser, which must outlive it."""
    kinds, flags = trt.NetworkDefinitionCreationFlag, 0
    if major == 8:
        flags = 1 << int(kinds.EXPLICIT_BATCH)
    elif major == 10:  # 11 has no other kind of network
        flags = 1 << int(kinds.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, _logger(trt))
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise EngineError(
            f'TensorRT {trt.__version__} does not accept {path.name}: '
            + '; '.join(errors)
        )
    return network, parser


def _set_capabilities(trt: ModuleType, config: Any, wanted: Sequence[str]) -> None:
    """Have an engine of RTX run on GPUs of these compute capabilities."""
    known = trt.ComputeCapability.__members__
    names = {f'{name[2:-1]}.{name[-1]}': name for name in known if name[:2] == 'SM'}
    if unknown := sorted(set(wanted) - set(names)):
        raise EngineError(
            f'TensorRT for RTX {trt.__version__} has no compute capability '
            f'{", ".join(unknown)}; choose of {", ".join(names)}'
        )
    config.num_compute_capabilities = len(wanted)
    for index, capability in enumerate(wanted):
        if not config.set_compute_capability(known[names[capability]], index):
            raise EngineError(f'TensorRT for RTX refuses to build for {capability}')


@functools.cache
def _logger(trt: ModuleType) -> Any:
    """The only logger; TensorRT keeps the first of a process."""
    return trt.Logger(trt.Logger.WARNING)


def _start(trt: ModuleType, kind: type) -> Any:
    """A Builder or a Runtime; without a usable GPU pybind11 raises TypeError."""
    try:
        return kind(_logger(trt))
    except TypeError as error:
        raise EngineError(
            f'TensorRT cannot start on this GPU ({error}); update the driver if it '
            "is older than TensorRT's CUDA (`nvidia-smi`)"
        ) from error


def _allow_precision(
    trt: ModuleType, network: Any, config: Any, precision: str
) -> None:
    """Allow a precision in TensorRT 8.6, which takes types as hints."""
    if precision == 'int8':
        config.set_flag(trt.BuilderFlag.INT8)
    if precision == 'fp16':
        config.set_flag(trt.BuilderFlag.FP16)
        # else decoding and NMS might be computed in float16 too
        config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            if layer.num_inputs and layer.num_outputs:
                kinds = {layer.get_input(0).dtype, layer.get_output(0).dtype}
                if kinds == {trt.DataType.FLOAT}:
                    layer.precision = trt.DataType.FLOAT


class Engine:
    """An engine that runs on arrays, from the content of the .engine file."""

    def __init__(self, data: bytes, rtx: bool = False) -> None:
        trt, _ = load(rtx)
        self.cuda = Cuda()
        self._memory: dict[str, tuple[int, int]] = {}
        self._runtime = _start(trt, trt.Runtime)  # must outlive its engine
        self._engine = engine = self._runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise EngineError(
                f'the engine was made by another TensorRT than {trt.__version__}, '
                f'or for another GPU than {self.cuda.name}: run build_engine.py here'
            )
        self._context = engine.create_execution_context()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        modes = {name: engine.get_tensor_mode(name) for name in names}
        self.inputs = [n for n in names if modes[n] == trt.TensorIOMode.INPUT]
        self.outputs = {
            n: np.dtype(trt.nptype(engine.get_tensor_dtype(n)))
            for n in names
            if modes[n] == trt.TensorIOMode.OUTPUT
        }

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """(B, 3, H, W) float32 -> outputs by name."""
        (name,) = self.inputs
        inputs = np.ascontiguousarray(inputs, np.float32)
        if not self._context.set_input_shape(name, inputs.shape):
            least, _, most = self._engine.get_tensor_profile_shape(name, 0)
            raise EngineError(
                f'the engine takes {tuple(least)} to {tuple(most)}, not '
                f'{inputs.shape}; change "inputs" in {JSON}, run build_engine.py'
            )
        self.cuda.upload(self._address(name, inputs.nbytes), inputs)
        found = {}
        for output, kind in self.outputs.items():
            shape = tuple(self._context.get_tensor_shape(output))
            if min(shape, default=1) < 0:
                raise EngineError(f'the ONNX file does not fix the size of {output}')
            found[output] = np.empty(shape, kind)
            self._address(output, found[output].nbytes)
        if not self._context.execute_async_v3(self.cuda.stream):
            raise EngineError('TensorRT could not run, for the reason printed above')
        for output, array in found.items():
            self.cuda.download(array, self._memory[output][0])
        self.cuda.wait()
        return found

    def _address(self, name: str, size: int) -> int:
        """Address of a tensor's memory, which grows if needed."""
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


_ADDRESS = ctypes.c_uint64  # CUdeviceptr
#: Functions of the CUDA driver; all return 0 or the number of an error.
_CUDA = {
    'cuInit': (c_uint,),
    'cuDeviceGet': (POINTER(c_int), c_int),
    'cuDeviceGetName': (c_char_p, c_int, c_int),
    'cuDevicePrimaryCtxRetain': (POINTER(c_void_p), c_int),
    'cuCtxSetCurrent': (c_void_p,),
    'cuStreamCreate': (POINTER(c_void_p), c_uint),
    'cuStreamSynchronize': (c_void_p,),
    'cuMemAlloc_v2': (POINTER(_ADDRESS), c_size_t),
    'cuMemFree_v2': (_ADDRESS,),
    'cuMemcpyHtoDAsync_v2': (_ADDRESS, c_void_p, c_size_t, c_void_p),
    'cuMemcpyDtoHAsync_v2': (c_void_p, _ADDRESS, c_size_t, c_void_p),
}


class Cuda:
    """Memory and a stream of the first GPU, from the driver's library.

    The context is the primary one, which TensorRT and PyTorch use too.
    """

    def __init__(self) -> None:
        name = 'nvcuda.dll' if os.name == 'nt' else 'libcuda.so.1'
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise EngineError(
                f'there is no NVIDIA driver here ({error}); use the machine with '
                'the GPU'
            ) from error
        for function, kinds in _CUDA.items():
            getattr(self._library, function).argtypes = kinds
        self._device, context, self._stream = c_int(), c_void_p(), c_void_p()
        self._call('cuInit', 0)
        self._call('cuDeviceGet', byref(self._device), 0)
        self._call('cuDevicePrimaryCtxRetain', byref(context), self._device)
        self._call('cuCtxSetCurrent', context)
        self._call('cuStreamCreate', byref(self._stream), 1)

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            raise EngineError(
                f'the NVIDIA driver answers {function} with error {code}; '
                'check with `nvidia-smi` whether the GPU can be used'
            )

    @property
    def name(self) -> str:
        """Name of the GPU."""
        text = ctypes.create_string_buffer(256)
        self._call('cuDeviceGetName', text, len(text), self._device)
        return text.value.decode(errors='replace')

    @property
    def stream(self) -> int:
        """Handle of the stream that everything here runs on."""
        return self._stream.value or 0

    def allocate(self, size: int) -> int:
        """Address of new memory, ``size`` in bytes."""
        address = _ADDRESS()
        self._call('cuMemAlloc_v2', byref(address), max(size, 1))
        return address.value

    def free(self, address: int) -> None:
        """Free memory; errors at the end of a process are ignored."""
        self._library.cuMemFree_v2(address)

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy a contiguous array to the GPU."""
        host, size = array.ctypes.data, array.nbytes
        self._call('cuMemcpyHtoDAsync_v2', address, host, size, self._stream)

    def download(self, array: np.ndarray, address: int) -> None:
        """Copy from the GPU into a contiguous array."""
        host, size = array.ctypes.data, array.nbytes
        self._call('cuMemcpyDtoHAsync_v2', host, address, size, self._stream)

    def wait(self) -> None:
        """Wait until the stream is done."""
        self._call('cuStreamSynchronize', self._stream)


def match(
    first: Mapping, second: Mapping, least: float = 0.05
) -> tuple[int, int, float, float]:
    """Match detections of one image, each with the nearest of its class.

    Args:
        first: ``boxes``, ``scores``, ``labels`` of the reference.
        second: The same of what is compared with it.
        least: Detections of the reference with a higher score count.

    Returns:
        The number that count, the number of those with a match (within 32 px
        and a score of 0.5), and the largest differences of the matched, of a
        side in pixels and of a score.
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


def count_extra(first: Mapping, second: Mapping) -> tuple[int, int]:
    """Detections of ``second`` over 0.05, and those of them that ``first`` lacks."""
    counted, matched, *_ = match(second, first)
    return counted, counted - matched


def compare(wanted: Mapping, found: Mapping, precision: str) -> tuple[list[str], bool]:
    """Compare onnxruntime's outputs, by name, with the engine's.

    Returns:
        One line per output, and whether the difference is only rounding.
    """
    if set(wanted) != set(found):
        names = f'{", ".join(found)} instead of {", ".join(wanted)}'
        return [f'the engine has the outputs {names}'], False
    for name in wanted:
        if wanted[name].shape != found[name].shape:
            return [f'{name}: {found[name].shape}, not {wanted[name].shape}'], False
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
    """Compare image by image; the order of detections does not count."""
    lines, good = [], True
    for i in range(len(wanted['dets'])):
        first, second = (
            dict(boxes=dets[i, :, :4], scores=dets[i, :, 4], labels=labels[i])
            for dets, labels in ((x['dets'], x['labels']) for x in (wanted, found))
        )
        counted, matched, box, score = match(first, second)
        own, extra = count_extra(first, second)
        lines.append(
            f'dets, labels: {matched} of {counted} detections over 0.05 found'
            + f' and {extra} more' * bool(extra)
            + f', largest difference {box:.2g} px, {score:.2g} in score'
        )
        good &= matched >= MATCHED * counted and own - extra >= MATCHED * own
    return lines, good


def read(folder: Path) -> dict:
    """Content of end2end.trt.json; raises if it, or a file it names, is not usable."""
    if not (folder / JSON).is_file():
        raise EngineError(
            f'there is no {JSON} in {folder}; give the folder of a TensorRT '
            'model that tools/export.py has exported'
        )
    try:
        spec = json.loads((folder / JSON).read_text(encoding='utf-8'))
        names = [spec[key] for key in ('onnx', 'reference', 'engine')]
        good = all(Path(name).name == name and '\\' not in name for name in names)
    except (ValueError, LookupError, TypeError, RecursionError):
        good = False
    if not good:
        raise EngineError(
            f'{folder / JSON} is damaged, or names files of another folder; export '
            'the model again with tools/export.py'
        )
    for key in ('onnx', 'reference'):
        if not (folder / spec[key]).is_file():
            raise EngineError(
                f'{folder} lacks {spec[key]}, which {JSON} names; copy the whole folder'
            )
    return spec


def engine_name(spec: Mapping, rtx: bool = False) -> str:
    """Name of the engine; one of TensorRT for RTX has its own."""
    return Path(spec['engine']).stem + '.rtx.engine' if rtx else spec['engine']


def write(
    folder: Path, spec: Mapping, *, rtx: bool = False, capabilities: Sequence[str] = ()
) -> bytes:
    """Build the engine, see :func:`build`, write it whole, and say so."""
    started = time.perf_counter()
    data = build(folder, spec, rtx=rtx, capabilities=capabilities)
    spent = time.perf_counter() - started
    target = folder / engine_name(spec, rtx)
    partial = target.with_name(target.name + '.unfinished')
    try:
        partial.write_bytes(data)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    text = f'engine of {len(data) / 1e6:.2f} MB in {spent:.0f} s: {target}'
    print(spec['precision'], text)
    return data


def make_rtx(folder: Path, capabilities: Sequence[str]) -> None:
    """Build an engine of TensorRT for RTX ahead of time; a GPU is not used."""
    spec = read(folder)
    trt, _ = load(rtx=True)
    print(f'TensorRT for RTX {trt.__version__}', flush=True)
    write(folder, spec, rtx=True, capabilities=capabilities)
    print('the engine was not run; it needs a GPU of those compute capabilities')


def make(folder: Path, runs: int) -> bool:
    """Build, run, compare and time the engine; whether the outputs are right."""
    spec = read(folder)
    trt, _ = load()
    # first, as TensorRT without a GPU only says that it returned nothing
    print(f'TensorRT {trt.__version__}, {Cuda().name}', flush=True)
    data = write(folder, spec)
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
    images = f'{len(inputs)} image{"s" * (len(inputs) > 1)}'
    text = f'{statistics.median(times):.2f} ms, of {images}, copies included'
    print(f'median of {runs} runs {text}')
    return good


def main() -> int:
    """Read the command line and build the engine; returns the exit code."""
    parser = argparse.ArgumentParser(
        description='Build and check the TensorRT engine of an exported model.'
    )
    add, here = parser.add_argument, Path(__file__).resolve().parent
    text = 'folder of the model (default: the folder of this file)'
    add('folder', nargs='?', type=Path, default=here, help=text)
    add('--runs', type=int, default=100, help='timed runs (default: 100)')
    text = 'build with TensorRT for RTX ahead of time, without a GPU'
    add('--rtx', action='store_true', help=text)
    text = 'compute capabilities of the GPUs, as 8.6 (with --rtx)'
    add('--capability', nargs='+', default=[], metavar='NUMBER', help=text)
    args = parser.parse_args()
    if args.capability and not args.rtx:
        parser.error('--capability needs --rtx')
    try:
        if args.rtx:
            make_rtx(args.folder, args.capability)
            return 0
        good = make(args.folder, max(args.runs, 30))
    except (EngineError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    if not good:
        text = 'the engine computes something else than onnxruntime; do not use it'
        print(f'error: {text}', file=sys.stderr)
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
