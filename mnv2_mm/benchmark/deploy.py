"""Exported models against PyTorch, and 8-bit ones against Google's TFLite files.

The detector has random weights with scores spread like a trained one's. The
8-bit networks are converted from the TFLite files that they are compared
with, and have the same outputs. All are calibrated with generated images:
good for times, not for accuracy.
"""

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import Tensor, nn

from mnv2_mm.api import init_model, prepare
from mnv2_mm.benchmark.baselines import OURS, SIDE
from mnv2_mm.benchmark.core import Case, Options, Step
from mnv2_mm.benchmark.sample_images import photo
from mnv2_mm.checkpoints.hub import checkpoint_of, fetch, published_models
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.utils import compat
from mnv2_mm.utils.config import config_root
from mnv2_mm.utils.errors import InputError

_DEVIATION, _MEAN = 2.0, -6.0  # of the detector's class logits
#: The last layers of Google's segmentation file.
_RESIZE_AND_ARGMAX = {
    'codebase_config.with_resize': True,
    'codebase_config.with_argmax': True,
}


def cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py deploy`."""
    return [
        *_cases(
            f'SSDLite, {SIDE} px, 80 classes, tensor in, boxes out',
            {'PyTorch, eager': eager_detector},
            partial(exported_model, threads=options.threads),
            'det_{}_static',
        ),
        *_cases(
            'classification, 224 px, 8 bits',
            {'TFLite (XNNPACK)': partial(tflite, 'mnv2_in1k', options.threads)},
            partial(exported_model, 'mnv2_in1k', threads=options.threads),
            'cls_{}_int8_static',
        ),
        *_cases(
            'Mobile DeepLabv3, 513 px, 8 bits, with argmax',
            {
                'TFLite (XNNPACK)': partial(
                    tflite, 'deeplabv3_mnv2_voc', options.threads
                )
            },
            partial(
                exported_model,
                'deeplabv3_mnv2_voc',
                threads=options.threads,
                overrides=_RESIZE_AND_ARGMAX,
            ),
            'seg_{}_int8_static_513',
        ),
    ]


def _cases(
    group: str,
    reference: dict[str, Callable[[], Step]],
    export: Callable[..., Step],
    deploy_config: str,
) -> list[Case]:
    """A reference and the exported models for both backends."""
    makes = dict(reference)
    for backend in ('onnxruntime', 'ncnn'):
        name = f'{backend} {"int8" if "int8" in deploy_config else "fp32"}'
        makes[name] = partial(export, deploy_config=deploy_config.format(backend))
    return [
        Case(name=name, group=group, make=make, repeats=5)
        for name, make in makes.items()
    ]


def exported_model(
    published: str = '',
    *,
    deploy_config: str,
    threads: int,
    overrides: Mapping[str, object] | None = None,
) -> Step:
    """Export a network; returns a run of it on an image, by its backend.

    Args:
        published: Name of a network of configs/official; by default the
            detector with spread scores.
        deploy_config: Name of a file of configs/deploy.
        threads: Of the backend.
        overrides: Of the deploy config, with keys as in --cfg-options.

    Raises:
        InputError: mmdeploy, the backend or the weights are missing.
    """
    from mnv2_mm.deploy import require

    require()
    from mnv2_mm.deploy.export import Exporter

    cfg = Config.fromfile(config_root() / f'deploy/{deploy_config}.py')
    cfg.merge_from_dict(overrides or {})
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the hosts about scopes
        folder = Path(name)
        image = folder / 'photo.png'
        cv2.imwrite(str(image), photo(0))
        if published:
            network = published_models()[published]
            config, checkpoint = network.config, checkpoint_of(network)
        else:
            model = spread_detector()
            config, checkpoint = OURS, folder / 'detector.pth'
            meta = {'dataset_meta': model.dataset_meta}
            torch.save({'state_dict': model.state_dict(), 'meta': meta}, checkpoint)
        exporter = Exporter(cfg, config, str(checkpoint), str(image))
        inputs = exporter.network_input()[1].numpy()
        out = folder / 'exported'
        out.mkdir()
        exporter.export(out, calibration=[inputs])
        runtime = ExportedModel(out, threads=threads).network
    return partial(runtime, inputs)


def eager_detector() -> Step:
    """Our detector in PyTorch, tensor in, boxes out."""
    model = spread_detector()
    data = prepare(model, photo(0))
    inputs = network_input(model, [data])

    @torch.no_grad()
    def step() -> object:
        return model(inputs, [data['data_samples'].clone()], mode='predict')

    return step


def network_input(model: nn.Module, data: Sequence[Mapping]) -> Tensor:
    """Network input (B, 3, H, W) of what the test pipeline returns."""
    batch = {key: [one[key] for one in data] for key in ('inputs', 'data_samples')}
    with torch.no_grad():
        return model.data_preprocessor(batch, False)['inputs']


def spread_detector() -> nn.Module:
    """Our detector with random weights, its scores spread like trained ones.

    As it is initialized, all pairs of anchor and class have the same score,
    and its NMS has nothing in common with that of a trained one.
    """
    torch.manual_seed(0)
    # mmdeploy makes a logger of its own the current one
    MMLogger.get_current_instance().setLevel('WARNING')
    model = init_model(OURS)
    inputs = network_input(model, [prepare(model, photo(0))])
    with torch.no_grad():
        logits, _ = model.bbox_head(model.extract_feat(inputs))
        for layer, level in zip(model.bbox_head.cls_convs, logits, strict=True):
            layer[-1].weight.mul_(_DEVIATION / level.std())
            layer[-1].bias.fill_(_MEAN)
    return model


def tflite(published: str, threads: int) -> Step:
    """Run the TFLite file of a published network on an image.

    Raises:
        InputError: the file or ai-edge-litert is missing.
    """
    if not compat.installed('ai_edge_litert'):
        raise InputError(
            'TFLite files need ai-edge-litert, which is not installed: pip '
            'install ai-edge-litert'
        )
    from ai_edge_litert.interpreter import Interpreter

    path = fetch(published_models()[published])
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (details,) = interpreter.get_input_details()
    size = tuple(int(side) for side in details['shape'][2:0:-1])
    image = cv2.resize(photo(0), size)[None].astype(details['dtype'])
    interpreter.set_tensor(details['index'], image)
    return interpreter.invoke
