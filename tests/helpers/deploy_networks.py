"""Fixtures of the deployment tests: tiny random networks, exported.

A plugin of the files that use them, which share the exported models.
"""

from pathlib import Path

import pytest
import torch

from mnv2_mm.api import init_model

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/deploy'
_NETWORKS: dict = {}
_BUILDS: dict = {}


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
            path = tmp_path_factory.mktemp(task) / 'random.pth'
            meta = {'dataset_meta': model.dataset_meta}
            weights = model.state_dict()
            for name in weights:
                if 'cls_convs' in name and name.endswith('.1.weight'):
                    weights[name] = weights[name] * 20
            torch.save({'state_dict': weights, 'meta': meta}, path)
            image = sorted((tiny_data / 'images/val').glob('*'))[0]
            _NETWORKS[task] = config, path, image
        return _NETWORKS[task]

    return get


@pytest.fixture(scope='session')
def built(network, run_tool, tmp_path_factory):
    """Folder of a task's network, exported with a deploy config."""

    def get(task, kind='static', **options):
        key = task, kind, *options
        if key not in _BUILDS:
            config, checkpoint, image = network(task)
            folder = tmp_path_factory.mktemp('exported') / 'new'
            flags = [f'{k}={v}' for k, v in options.items()]
            named = kind.startswith(('ncnn_', 'tensorrt_'))
            backend = '' if named else 'onnxruntime_'
            code = run_tool(
                'deploy',
                CONFIGS / f'{task}_{backend}{kind}.py',
                config,
                checkpoint,
                image,
                '--work-dir',
                folder,
                *(['--cfg-options', *flags] if flags else []),
            )
            assert code == 0
            _BUILDS[key] = folder
        return _BUILDS[key]

    return get
