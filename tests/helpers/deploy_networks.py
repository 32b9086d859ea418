"""Fixtures of the deployment tests: tiny random networks, exported.

A plugin of the files that use them. Each exported model is made once in a
session, also if pytest-xdist divides the session among processes; a test that
changes one takes a copy.
"""

import hashlib
from pathlib import Path

import cv2
import pytest
import torch

from mnv2_mm.api import init_model

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/deploy'
_NETWORKS: dict = {}


@pytest.fixture(scope='session')
def network(tiny_config, tiny_data, tmp_path_factory):
    """Config, checkpoint and an image for a task; scores well apart."""

    def get(task):
        if task not in _NETWORKS:
            config = tiny_config(task)
            torch.manual_seed(3)
            model = init_model(config)
            for module in model.modules():
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    module.running_mean.normal_(0, 0.2)
                    module.running_var.uniform_(0.3, 1.5)
            image = sorted((tiny_data / 'images/val').glob('*'))[0]
            if task == 'seg':
                balance(model, image)
            path = tmp_path_factory.mktemp(task) / 'random.pth'
            meta = {'dataset_meta': model.dataset_meta}
            weights = model.state_dict()
            for name in weights:
                if 'cls_convs' in name and name.endswith('.1.weight'):
                    weights[name] = weights[name] * 20
            torch.save({'state_dict': weights, 'meta': meta}, path)
            _NETWORKS[task] = config, path, image
        return _NETWORKS[task]

    return get


@torch.no_grad()
def balance(model: torch.nn.Module, image: Path) -> None:
    """Shift the logits, so that no class is the best one everywhere."""
    pixels = torch.from_numpy(cv2.imread(str(image))).permute(2, 0, 1)[None]
    logits = model.eval()(pixels / 127.5 - 1)
    model.decode_head.conv_seg.bias -= logits.mean((0, 2, 3))


@pytest.fixture(scope='session')
def built(network, run_tool, once):
    """Folder of a task's network, exported with a deploy config."""

    def get(task, kind='static', **options):
        flags = [f'{k}={v}' for k, v in options.items()]
        digest = hashlib.sha256(' '.join(flags).encode()).hexdigest()[:8]

        def deploy(folder):
            named = kind.startswith(('ncnn_', 'tensorrt_', 'litert_', 'openvino_'))
            backend = '' if named else 'onnxruntime_'
            code = run_tool(
                'deploy',
                CONFIGS / f'{task}_{backend}{kind}.py',
                *network(task),
                '--work-dir',
                folder,
                *(['--cfg-options', *flags] if flags else []),
            )
            assert code == 0

        return once(f'{task}_{kind}_{digest}', deploy)

    return get
