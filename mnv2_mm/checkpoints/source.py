"""What a file of trained weights holds, before and after its keys are ours.

A conversion has three steps::

    file --reader--> Source --key map--> Translation --assign--> checkpoint
    (one module a       (keys of          (keys of            (shapes and BN
     file format)      the file)        this project)          of a config)
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

#: How the network of the weights pads its stride-2 convolutions; None where both are
#: the same at its input size, or its config decides.
SourcePadding = Literal['same', 'symmetric'] | None


class Preprocessing(NamedTuple):
    """Mean and standard deviation of the pixels, 0 to 255, in RGB order."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


#: x / 127.5 - 1, as in all of TensorFlow's MobileNets.
MINUS_ONE_TO_ONE = Preprocessing((127.5,) * 3, (127.5,) * 3)
#: torchvision's, which timm and OpenMMLab use too.
IMAGENET = Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


class Anchors(NamedTuple):
    """Default boxes stored in a file, to compare with those of the config."""

    #: (N, 4) as center y, center x, height, width over the side of the input.
    boxes: Tensor
    #: Quantization step of the stored values, 0 for floats.
    step: float


@dataclass
class Source:
    """The weights of a file, with the keys and layouts of the file."""

    path: str
    #: 'TFLite, 8 bits', 'safetensors', ...
    format: str
    sha256: str
    #: Floats; quantized ones are dequantized.
    tensors: dict[str, Tensor]
    #: What in the file is no weight of the network (slots of an optimizer, a step
    #: counter), with the reason.
    set_aside: dict[str, str] = field(default_factory=dict)
    #: What some formats say of the input.
    preprocessing: Preprocessing | None = None
    anchors: Anchors | None = None


@dataclass
class Translation:
    """The same weights with the keys of this project's models.

    Keys are those of a complete model (``backbone.conv1.conv.weight``). A convolution
    with a fused batch norm has ``<layer>.conv.bias`` in place of the tensors below
    ``<layer>.bn``.
    """

    #: 'TF-slim', 'torchvision', ...
    key_map: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    #: The key in the file of each of ``tensors``.
    origin: dict[str, str] = field(default_factory=dict)
    #: Tensors of the file without a layer here.
    unused: list[str] = field(default_factory=list)
    #: Epsilon of the batch norm in training, by the beginning of our keys; the longest
    #: one counts. In TensorFlow's DeepLab: {'backbone.': 1e-3, 'decode_head.': 1e-5}.
    bn_eps: dict[str, float] = field(default_factory=dict)
    padding: SourcePadding = None
    preprocessing: Preprocessing | None = None


def sha256_of(*paths: str | Path) -> str:
    """Hex digest of a file, or of several files in a row."""
    return digest_of('sha256', *paths)


def digest_of(algorithm: str, *paths: str | Path) -> str:
    """The same by any algorithm of hashlib."""
    digest = hashlib.new(algorithm)
    for path in paths:
        with open(path, 'rb') as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
