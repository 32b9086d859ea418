"""What a file of trained weights holds, before and after its names are ours.

A conversion goes through three steps, each of which accounts for every
tensor::

    file --reader--> Source --naming--> Translation --fit--> checkpoint
    (one module a       (names of         (names of          (shapes and
     file format)      the source)     this project)       BN of a config)
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

#: How the network of the weights pads its stride-2 convolutions; None where
#: both are the same at the size it was made for.
SourcePadding = Literal['same', 'symmetric'] | None


class Preprocessing(NamedTuple):
    """What is done with the values of an image, 0 to 255, in RGB order."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


#: How a config names a network of configs/official as a checkpoint.
SCHEME = 'mnv2_mm://'
#: x / 127.5 - 1, as all of TensorFlow's MobileNets.
MINUS_ONE_TO_ONE = Preprocessing((127.5,) * 3, (127.5,) * 3)
#: torchvision's and everybody's who follows it.
IMAGENET = Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


class Anchors(NamedTuple):
    """Default boxes stored in a file, to compare the config's with."""

    #: (N, 4) as center y, center x, height, width over the input's side.
    boxes: Tensor
    #: How coarse they are stored, 0 for floats.
    step: float


@dataclass
class Source:
    """The weights of a file, by the names and in the layout of the file."""

    path: str
    #: For the reader of a table: 'TFLite, 8 bits', 'safetensors', ...
    format: str
    sha256: str
    #: Floats; quantised ones are de-quantised.
    tensors: dict[str, Tensor]
    #: What in the file is no weight of the network (slots of an optimizer,
    #: a step counter), with the reason.
    set_aside: dict[str, str] = field(default_factory=dict)
    #: What some formats say of the input: its values, and (height, width).
    preprocessing: Preprocessing | None = None
    input_size: tuple[int, int] | None = None
    anchors: Anchors | None = None


@dataclass
class Translation:
    """The same weights by the names of this project's models.

    Names are those of a whole model (``backbone.conv1.conv.weight``). A
    convolution whose batch norm is folded has ``<layer>.conv.bias`` in place
    of the tensors below ``<layer>.bn``.
    """

    #: 'TF-slim', 'torchvision', ...
    naming: str
    tensors: dict[str, Tensor]
    #: The names in the file that each of ``tensors`` was made of.
    origin: dict[str, tuple[str, ...]]
    #: Tensors of the file that no layer here corresponds to.
    unused: list[str] = field(default_factory=list)
    #: Epsilon of the batch norm that the weights were trained with, by the
    #: beginning of our names; the longest one counts. Of TensorFlow's
    #: DeepLab: {'backbone.': 1e-3, 'decode_head.': 1e-5}.
    bn_eps: dict[str, float] = field(default_factory=dict)
    padding: SourcePadding = None
    preprocessing: Preprocessing | None = None


def sha256_of(*paths: str | Path) -> str:
    """Hex digest of a file, or of several one behind the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, 'rb') as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
