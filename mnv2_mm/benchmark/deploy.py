"""Exported models against PyTorch, and 8-bit ones against Google's TFLite files.

The detector has random weights with scores spread like a trained one's. The
8-bit networks are converted from the TFLite files that they are compared
with, and have the same outputs. All are calibrated with generated images:
good for times, not for accuracy.
"""

import tempfile
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import cv2
import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from mnv2_mm.api import init_model, prepare
from mnv2_mm.benchmark.baselines import OURS, SIDE, photo
from mnv2_mm.benchmark.core import Case, Options, Step, case_group
from mnv2_mm.checkpoints.hub import checkpoint_of, fetch, published_models
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.utils.config import config_root, get_config

DEVIATION, MEAN = 2.0, -6.0  # of the detector's class logits
#: The last layers of Google's segmentation file.
_ENDING = dict.fromkeys(
    ('codebase_config.with_resize', 'codebase_config.with_argmax'), True
)


def cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py deploy`."""
    groups = (
        # title, published network or '' for the detector, its deploy configs
        (f'SSDLite, {SIDE} px, 80 classes, tensor in, boxes out', '', 'det_{}_static'),
        ('classification, 224 px, 8 bits', 'mnv2_in1k', 'cls_{}_int8_static'),
        (
            'Mobile DeepLabv3, 513 px, 8 bits, with argmax',
            'deeplabv3_mnv2_voc',
            'seg_{}_int8_static_513',
        ),
    )
    found, threads = [], options.threads
    for title, published, config in groups:
        makes = {'PyTorch, eager': eager_detector}
        if published:
            makes = {'TFLite (XNNPACK)': partial(tflite, published, threads)}
        for backend in ('onnxruntime', 'ncnn'):
            name = f'{backend} {"int8" if published else "fp32"}'
            makes[name] = partial(
                exported_model, published, config.format(backend), threads
            )
        found += case_group(title, makes, repeats=5)
    return found


def exported_model(published: str, deploy_config: str, threads: int) -> Step:
    """Export a network; returns a run of it on an image, by its backend.

    Args:
        published: Name of a network of configs/official; '' for the detector
            with spread scores.
        deploy_config: Name of a file of configs/deploy.
        threads: Of the backend.

    Raises:
        InputError: mmdeploy, the backend or the weights are missing.
    """
    from mnv2_mm.deploy import require

    require()
    from mnv2_mm.deploy.export import Exporter

    cfg = get_config(config_root() / f'deploy/{deploy_config}.py')
    if deploy_config.startswith('seg'):
        cfg.merge_from_dict(_ENDING)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the hosts about scopes
        folder = Path(name)
        image = folder / 'photo.png'
        cv2.imwrite(str(image), photo())
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
    data = prepare(model, photo())
    inputs = network_input(model, data)
    return torch.no_grad()(
        lambda: model(inputs, [data['data_samples'].clone()], mode='predict')
    )


def network_input(model: nn.Module, data: Mapping) -> Tensor:
    """Network input (1, 3, H, W) of what the test pipeline returns."""
    batch = {key: [value] for key, value in data.items()}
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
    inputs = network_input(model, prepare(model, photo()))
    with torch.no_grad():
        logits, _ = model.bbox_head(model.extract_feat(inputs))
        for layer, level in zip(model.bbox_head.cls_convs, logits, strict=True):
            layer[-1].weight.mul_(DEVIATION / level.std())
            layer[-1].bias.fill_(MEAN)
    return model


def tflite(published: str, threads: int) -> Step:
    """Run the TFLite file of a published network on an image."""
    from ai_edge_litert.interpreter import Interpreter

    path = fetch(published_models()[published])
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (details,) = interpreter.get_input_details()
    size = tuple(int(side) for side in details['shape'][2:0:-1])
    image = cv2.resize(photo(), size)[None].astype(details['dtype'])
    interpreter.set_tensor(details['index'], image)
    return interpreter.invoke
