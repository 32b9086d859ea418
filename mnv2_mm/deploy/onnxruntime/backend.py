"""ONNX Runtime as a backend of mmdeploy, without its library of own ops.

Replaces mmdeploy's manager and wrapper of this name: the graphs are of
standard operators, so nothing of 2023 has to be loaded beside the installed
onnxruntime; and ``backend_config.precision`` counts.
"""

from collections.abc import Mapping, Sequence

import mmdeploy.backend.onnxruntime  # noqa: F401  registers its own before
import numpy as np
import torch
from mmdeploy.backend.base import BACKEND_MANAGERS, BaseWrapper
from mmdeploy.backend.onnxruntime.backend_manager import ONNXRuntimeManager
from mmdeploy.utils import get_backend_config, get_ir_config
from torch import Tensor

from mnv2_mm.deploy.manager import InstalledManager
from mnv2_mm.deploy.precision import precision_and_images

#: Precisions that ``backend_config`` may ask for.
PRECISIONS = ('fp32', 'int8')


class OrtWrapper(BaseWrapper):
    """Runs an ONNX file.

    Args:
        file: Path of the .onnx.
        output_names: Which outputs, in this order; None for all.
        threads: Threads within an operator; 0 leaves it to onnxruntime.
    """

    def __init__(
        self,
        file: str,
        output_names: Sequence[str] | None = None,
        *,
        threads: int = 0,
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        self.session = onnxruntime.InferenceSession(
            file, options, providers=['CPUExecutionProvider']
        )
        names = [output.name for output in self.session.get_outputs()]
        super().__init__(list(output_names or names))

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run on tensors by name; the outputs by name."""
        feeds = {
            name: np.ascontiguousarray(value.detach().cpu().numpy())
            for name, value in inputs.items()
        }
        found = self.session.run(self._output_names, feeds)
        pairs = zip(self._output_names, found, strict=True)
        return {name: torch.from_numpy(value) for name, value in pairs}


# replaced, about which the registry would print a line
BACKEND_MANAGERS._module_dict.pop('onnxruntime', None)


@BACKEND_MANAGERS.register('onnxruntime')
class OrtManager(InstalledManager, ONNXRuntimeManager):
    """Tidies the graph, quantises it where asked, and runs it."""

    needs = 'onnxruntime'

    @classmethod
    def build_wrapper(
        cls,
        backend_files: Sequence[str],
        device: str = 'cpu',
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        deploy_cfg: Mapping | None = None,
        **_: object,
    ) -> OrtWrapper:
        """The wrapper of a build; it runs on the CPU."""
        options = get_backend_config(deploy_cfg) if deploy_cfg else {}
        threads = int(options.get('num_threads', 0))
        return OrtWrapper(backend_files[0], output_names, threads=threads)

    @classmethod
    def to_backend(
        cls,
        ir_files: Sequence[str],
        work_dir: str,
        deploy_cfg: Mapping,
        *_: object,
        calibration: Sequence[np.ndarray] | None = None,
        **__: object,
    ) -> Sequence[str]:
        """Tidy the exported graph in place, and quantise it where asked.

        Args:
            ir_files: The exported .onnx.
            work_dir: Where calibration data of mmdeploy's tools may be.
            deploy_cfg: Deploy config.
            calibration: Network inputs (B, 3, H, W) for int8; without them
                the file that ``calib_config`` of the deploy config names.

        Raises:
            InputError: another precision, or int8 without calibration data.
        """
        import onnx

        from mnv2_mm.deploy.graph import tidy

        precision, calibration = precision_and_images(
            deploy_cfg, work_dir, calibration, PRECISIONS
        )
        axes = get_ir_config(deploy_cfg).get('dynamic_axes')
        model = tidy(onnx.load(ir_files[0]), axes)
        if precision == 'int8':
            from mnv2_mm.deploy.quantize import quantize

            kept = get_backend_config(deploy_cfg).get('keep_float', ())
            model = quantize(model, calibration, keep_float=kept)
        onnx.save(model, ir_files[0])
        return [ir_files[0]]
