"""The part of the CUDA driver's library that is called, on the host.

The prototypes are those of cuda.h (CUDA driver API, v12, reference manual:
https://docs.nvidia.com/cuda/cuda-driver-api/); a function that is called
with others raises. What is enqueued on a stream happens when the stream is
waited for and not before, so that a missing wait shows.
"""

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_void_p

_ADDRESS = ctypes.c_uint64
_STREAM = 0x5EA
PROTOTYPES = {
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


class Function:
    """A function of the library, with ctypes' conversion of arguments."""

    def __init__(self, name, call):
        self.name, self.call, self.argtypes = name, call, None

    def __call__(self, *args):
        wanted = PROTOTYPES[self.name]
        assert self.argtypes == wanted, f'prototype of {self.name}'
        assert len(args) == len(wanted), f'arguments of {self.name}'
        for kind, value in zip(wanted, args, strict=True):
            kind.from_param(value)
        plain = [a.value if isinstance(a, ctypes._SimpleCData) else a for a in args]
        return self.call(*plain) or 0


class Driver:
    """The library; memory of the GPU is a table of byte arrays."""

    def __init__(self, fails=()):
        self.memory, self.queue, self.next = {}, [], 1 << 20
        self.context = None
        for name in PROTOTYPES:
            call = getattr(self, f'_{name}')
            if name in fails:
                call = lambda *_: 100  # noqa: E731  CUDA_ERROR_NO_DEVICE
            setattr(self, name, Function(name, call))

    def read(self, address, size):
        """The given number of bytes from the start of an allocation."""
        assert len(self.memory[address]) >= size, 'reads beyond its memory'
        return bytes(self.memory[address][:size])

    def write(self, address, data):
        """Bytes to the start of what was allocated there."""
        assert len(self.memory[address]) >= len(data), 'writes beyond'
        self.memory[address][: len(data)] = data

    def enqueue(self, stream, action):
        """Have something done when the stream is waited for."""
        assert stream == _STREAM, f'no stream {stream!r}'
        self.queue.append(action)

    def _cuInit(self, flags):  # noqa: N802
        assert flags == 0

    def _cuDeviceGet(self, device, ordinal):  # noqa: N802
        device._obj.value = 0

    def _cuDeviceGetName(self, text, size, device):  # noqa: N802
        text.value = b'a GPU of the tests'

    def _cuDevicePrimaryCtxRetain(self, context, device):  # noqa: N802
        context._obj.value = 0xC0

    def _cuCtxSetCurrent(self, context):  # noqa: N802
        assert context == 0xC0
        self.context = context

    def _cuStreamCreate(self, stream, flags):  # noqa: N802
        stream._obj.value = _STREAM

    def _cuStreamSynchronize(self, stream):  # noqa: N802
        while self.queue:
            self.queue.pop(0)()

    def _cuMemAlloc_v2(self, address, size):  # noqa: N802
        assert size > 0
        assert self.context is not None
        self.next += 1 << 32  # beyond what 32 bits hold
        self.memory[self.next] = bytearray(size)
        address._obj.value = self.next

    def _cuMemFree_v2(self, address):  # noqa: N802
        del self.memory[address]

    def _cuMemcpyHtoDAsync_v2(self, to, data, size, stream):  # noqa: N802
        copied = ctypes.string_at(data, size)
        self.enqueue(stream, lambda: self.write(to, copied))

    def _cuMemcpyDtoHAsync_v2(self, to, source, size, stream):  # noqa: N802
        self.enqueue(stream, lambda: ctypes.memmove(to, self.read(source, size), size))


DRIVER = Driver()
_CDLL = ctypes.CDLL


def load(name, *args, **kwargs):
    """In the place of ctypes.CDLL: the driver's library is this one."""
    if name in ('libcuda.so.1', 'nvcuda.dll'):
        return DRIVER
    return _CDLL(name, *args, **kwargs)
