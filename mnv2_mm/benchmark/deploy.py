"""Exported models against PyTorch, and 8-bit ones against Google's TFLite files.

The detector has random weights with scores spread like a trained one's. The
8-bit networks are converted from the TFLite files that they are compared
with, and have the same outputs. All are calibrated with generated images:
good for times, not for accuracy.
"""

import tempfile
import warnings
from functools import partial
from pathlib import Path

import cv2
import torch
from mmengine.logging import MMLogger
from torch import nn

from mnv2_mm.api import init_model
from mnv2_mm.benchmark.core import Case, Options, Step, case_group
from mnv2_mm.benchmark.detectors import OURS, SIDE, photo, spread_scores
from mnv2_mm.checkpoints.hub import SCHEME, fetch, local_checkpoint, published_models
from mnv2_mm.deploy import require
from mnv2_mm.engine.predictor import prepare
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.utils.config import config_root, get_config

_PIXELS = 'Mobile DeepLabv3, 513 px, 8 bits, with argmax'
#: Title, published network or '' for the detector, its deploy configs.
GROUPS = (
    (f'SSDLite, {SIDE} px, 80 classes, tensor in, boxes out', '', 'det_{}_static'),
    ('classification, 224 px, 8 bits', 'mnv2_in1k_quant', 'cls_{}_int8_static'),
    (_PIXELS, 'deeplabv3_mnv2_voc_quant', 'seg_{}_int8_static_513'),
)


def deploy_cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py deploy`."""
    found = []
    for title, network, config in GROUPS:
        reference = 'TFLite (XNNPACK)' if network else 'PyTorch, eager'
        table = {reference: dict(config='')}
        for backend in ('onnxruntime', 'ncnn', 'openvino', 'litert'):
            name = f'{backend} {"int8" if network else "fp32"}'
            table[name] = dict(config=config.format(backend))
        make = partial(run_on_photo, network, options.threads)
        found += case_group(title, make, table, repeats=5)
    return found


def run_on_photo(network: str, threads: int, config: str) -> Step:
    """Run a network on a photo, from the input tensor to its outputs.

    Args:
        network: Of configs/official, or '' for the detector with spread scores.
        threads: Of the backend.
        config: File of configs/deploy; '' for the reference.

    Raises:
        InputError: mmdeploy, the backend or the weights are missing.
    """
    if config:
        return exported_model(network, threads, config)
    if network:
        return tflite(network, threads)
    model = spread_detector()
    return torch.no_grad()(partial(model, **network_input(model), mode='predict'))


def exported_model(network: str, threads: int, config: str) -> Step:
    """Export a network; returns a run of it by its backend."""
    require()
    from mnv2_mm.deploy.export import Exporter

    cfg = get_config(config_root() / f'deploy/{config}.py')
    if config.startswith('seg'):  # the last layers of Google's file
        cfg.codebase_config.update(with_resize=True, with_argmax=True)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the hosts about scopes
        image, checkpoint = f'{name}/photo.png', f'{name}/detector.pth'
        cv2.imwrite(image, photo())
        if network:
            model_cfg = published_models()[network].config
            checkpoint = local_checkpoint(SCHEME + network)
        else:
            model_cfg, model = OURS, spread_detector()
            meta = {'dataset_meta': model.dataset_meta}
            torch.save({'state_dict': model.state_dict(), 'meta': meta}, checkpoint)
        exporter = Exporter(cfg, model_cfg, checkpoint, image)
        inputs = exporter.network_input()[1].numpy()
        exporter.export(Path(name), calibration=[inputs])
        return partial(ExportedModel(name, threads=threads).network, inputs)


def network_input(model: nn.Module) -> dict:
    """The photo as the network takes it: ``inputs`` (1, 3, H, W), ``data_samples``."""
    batch = {key: [value] for key, value in prepare(model, photo()).items()}
    return model.data_preprocessor(batch, False)


def spread_detector() -> nn.Module:
    """Our detector with random weights and the scores of a trained one."""
    torch.manual_seed(0)
    # mmdeploy makes a logger of its own the current one
    MMLogger.get_current_instance().setLevel('WARNING')
    model = init_model(OURS)
    spread_scores(model)
    return model


def tflite(network: str, threads: int) -> Step:
    """Run the TFLite file of a published network."""
    from ai_edge_litert.interpreter import Interpreter

    path = fetch(published_models()[network])
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (details,) = interpreter.get_input_details()
    size = tuple(int(side) for side in details['shape'][2:0:-1])
    image = cv2.resize(photo(), size)[None].astype(details['dtype'])
    interpreter.set_tensor(details['index'], image)
    return interpreter.invoke
