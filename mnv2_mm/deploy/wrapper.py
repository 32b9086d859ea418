"""A backend of :mod:`mnv2_mm.runtime` as a wrapper of mmdeploy."""

from collections.abc import Mapping, Sequence

import torch
from mmdeploy.backend.base import BaseWrapper
from torch import Tensor

from mnv2_mm.runtime.ncnn import Ncnn
from mnv2_mm.runtime.onnxruntime import OnnxRuntime
from mnv2_mm.runtime.tensorrt import TensorRT


class RuntimeWrapper(BaseWrapper):
    """Run a backend of mnv2_mm.runtime on torch tensors.

    Args:
        network: The loaded network.
        output_names: Outputs to return, in this order; None for all.
    """

    def __init__(
        self,
        network: OnnxRuntime | Ncnn | TensorRT,
        output_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(list(output_names or network.outputs))
        self.network = network

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run on the one input; returns the outputs by name."""
        (images,) = inputs.values()
        found = self.network(images.detach().cpu().numpy())
        return {name: torch.from_numpy(found[name]) for name in self.output_names}
