"""Keep exported networks for the next process, in a folder of the cache.

An entry is named by a digest of the weights, the layers, the input size and the
versions, so it is never out of date. The one who reads it checks what it computes, see
:mod:`mnv2_mm.engine.network_graph`.
"""

import functools
import hashlib
import logging
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import nn

from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import cache_folder, write_bytes
from mnv2_mm.version import __version__

#: Entries to keep, of 1 to 18 MB each; the oldest go.
MAX_FILES = 50


class OnnxCache:
    """The entries of one network, by input size."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @functools.cached_property
    def _digest(self) -> str:
        """Of weights, layers and versions; 30 ms for 14 MB."""
        versions = f'{__version__} {torch.__version__} {self.network}'
        digest = hashlib.sha256(versions.encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode() + value.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def path(self, size: torch.Size) -> Path:
        """File of an input size.

        Raises:
            InputError: the cache folder cannot be created.
        """
        name = '-'.join([*map(str, size), self._digest])
        return cache_folder() / 'onnxruntime' / f'{name}.onnx'

    def read(self, size: torch.Size) -> bytes:
        """The graph for an input size, ``b''`` if there is none."""
        try:
            return self.path(size).read_bytes()
        except (OSError, InputError):
            return b''

    def write(self, size: torch.Size, graph: bytes) -> None:
        """Add a graph; log one line if the folder takes none."""
        try:
            path = self.path(size)
            write_bytes(path, graph)
            files = sorted(path.parent.glob('*.onnx'), key=lambda p: p.stat().st_mtime)
            for old in files[:-MAX_FILES]:
                old.unlink(missing_ok=True)
        except (OSError, InputError) as error:
            text = f'the exported network is not kept for the next process: {error}'
            print_log(text, 'current', logging.WARNING)
