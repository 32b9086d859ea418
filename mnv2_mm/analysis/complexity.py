"""Parameters and multiply-adds of a network, layer by layer.

The paper's tables do not all count in the same way. Each way has a name here,
a :class:`Convention`. Plain multiply-adds are those of convolutions and matrix
products; biases, batch norm, activations, pooling and resizing cost nothing.

mmengine's ``get_model_complexity_info`` agrees on convolutions and products.
It adds a few operations for batch norm and pooling, calls multiply-adds FLOPs,
and cannot recognize an atrous convolution, which half of Table 7 depends on.
"""

import copy
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

from mmengine.config import Config
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.analysis.network import (
    Size,
    build_network,
    checked_size,
    input_size,
    tta_sizes,
)
from mnv2_mm.analysis.trace import Op, trace
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How the cost of a layer is counted."""

    text: str  # one line for people
    per_madd: int = 1  # operations in a multiply-add
    # added for each value that comes out: a batch norm that is not folded
    per_output: int = 0
    # whether an atrous convolution of rate r works on its map padded to multiples
    # of r: TensorFlow ran it as SpaceToBatch, convolution, BatchToSpace
    space_to_batch: bool = False

    def cost(self, op: Op) -> int:
        """Operations of a convolution or a product."""
        madds = op.madds
        if self.space_to_batch and op.rate:
            for side, rate in zip(op.shape[-len(op.rate) :], op.rate, strict=True):
                madds = madds // side * math.ceil(side / rate) * rate
        return self.per_madd * madds + self.per_output * math.prod(op.shape)


_S2B = "multiply-adds of TF's SpaceToBatch"
#: By name, as ``tools/get_flops.py --convention`` takes them.
CONVENTIONS = {
    'madds': Convention(text='multiply-adds'),
    'flops': Convention(per_madd=2, text='FLOPs, two per multiply-add'),
    'madds+outputs': Convention(
        per_output=1, text='multiply-adds and one operation per output value'
    ),
    's2b': Convention(space_to_batch=True, text=_S2B),
    's2b+outputs': Convention(
        space_to_batch=True, per_output=1, text=f'{_S2B}, one per output value'
    ),
}


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """What a network holds and costs, for one image."""

    # trained values by the path of the module that holds them
    params: Mapping[str, int]
    norm_params: Mapping[str, int]  # those of batch norm among them (gamma, beta)
    # convolutions and products of each pass; test-time augmentation has several
    passes: tuple[tuple[Op, ...], ...]
    sizes: tuple[Size, ...]  # input size of each pass

    def num_params(self, *, norm: bool = True) -> int:
        """Weights and biases; with ``norm`` also batch norm's two."""
        total = sum(self.params.values())
        return total if norm else total - sum(self.norm_params.values())

    def cost(self, convention: str = 'madds') -> int:
        """Operations of all passes, by the name of a convention."""
        rule = named_convention(convention)
        return sum(rule.cost(op) for ops in self.passes for op in ops)

    def part(self, *modules: str) -> 'Complexity':
        """The share of some modules of the model, such as ``neck``."""

        def inside(name: str) -> bool:
            return any(f'{name}.'.startswith(f'{m}.') for m in modules)

        return Complexity(
            params={k: v for k, v in self.params.items() if inside(k)},
            norm_params={k: v for k, v in self.norm_params.items() if inside(k)},
            passes=tuple(tuple(o for o in p if inside(o.layer)) for p in self.passes),
            sizes=self.sizes,
        )


def named_convention(name: str) -> Convention:
    """The convention of a name.

    Raises:
        InputError: there is none.
    """
    if name not in CONVENTIONS:
        known = ', '.join(CONVENTIONS)
        raise InputError(f'there is no convention {name!r}; use one of {known}')
    return CONVENTIONS[name]


def count(model: nn.Module, size: Size | int | list[Size]) -> Complexity:
    """Count a model on the meta device, at (height, width) or several of them.

    Raises:
        InputError: the model cannot run at this size.
    """
    sizes = [checked_size(s) for s in (size if isinstance(size, list) else [size])]
    once = {
        s: tuple(op for op in trace(model, s).ops if op.madds)
        for s in dict.fromkeys(sizes)
    }
    params, norm_params = {}, {}
    for name, module in model.named_modules():
        if own := sum(p.numel() for p in module.parameters(recurse=False)):
            params[name] = own
            if isinstance(module, _BatchNorm):
                norm_params[name] = own
    return Complexity(
        params=params,
        norm_params=norm_params,
        passes=tuple(once[s] for s in sizes),
        sizes=tuple(sizes),
    )


def count_config(
    config: str | os.PathLike | Config,
    *,
    size: Size | int | None = None,
    tta: bool = False,
    options: Mapping[str, object] | None = None,
) -> Complexity:
    """Count the model of a config.

    Args:
        config: Path, name or a read config.
        size: (height, width); by default that of the test pipeline.
        tta: Sum over the passes of the config's test-time augmentation.
        options: Overrides by key, such as ``model.head.num_classes``.

    Raises:
        InputError: the config, the size or the model is at fault.
    """
    cfg = copy.deepcopy(get_config(config))
    cfg.merge_from_dict(dict(options or {}))
    if tta and size is not None:
        raise InputError(
            f'--shape {size} and --tta exclude each other; leave out one of them'
        )
    sizes = tta_sizes(cfg) if tta else [input_size(cfg) if size is None else size]
    return count(build_network(cfg), sizes)
