"""No entry point runs code of a checkpoint; a damaged one ends in one message.

Markers are files that a pickle creates when it runs.
"""

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader
from torch import nn
from toy_runner import Toy, toy_runner

from mnv2_mm.api import inferencer, init_model
from mnv2_mm.checkpoints import addresses, load_backbone
from mnv2_mm.checkpoints.file import read
from mnv2_mm.checkpoints.guard import load
from mnv2_mm.checkpoints.loading import safe_loading
from mnv2_mm.models import MobileNetV2
from mnv2_mm.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


class Creates:
    """Pickled as a call that creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def evil_files(folder: Path, marker: Path) -> list[Path]:
    """Checkpoints that create the marker when any part of them runs."""
    weights, evil = Toy().state_dict(), Creates(marker)
    contents = {
        'meta': {'state_dict': weights, 'meta': evil},
        'nested': {'state_dict': weights, 'meta': {'a': [{'b': (evil,)}]}},
        'hub': {'state_dict': weights, 'message_hub': {'log_scalars': {'a': evil}}},
        'weights': {**weights, 'head.extra': evil},
    }
    paths = []
    for name, content in contents.items():
        for zipped in (True, False):
            paths.append(folder / f'{name}_{zipped}.pth')
            torch.save(content, paths[-1], _use_new_zipfile_serialization=zipped)
    paths.append(folder / 'plain.pth')
    paths[-1].write_bytes(pickle.dumps(contents['meta'], protocol=2))
    paths.append(folder / 'header.safetensors')
    paths[-1].write_bytes((1 << 40).to_bytes(8, 'little') + b'{' + bytes(64))
    return paths


def pretrained(path: str) -> None:
    """A module of a host that initializes itself from the file."""
    from mmengine.model import BaseModule

    class Part(BaseModule):
        def __init__(self) -> None:
            super().__init__(dict(type='Pretrained', checkpoint=path))
            self.head = nn.Linear(4, 3)

    with safe_loading():
        Part().init_weights()


def train(folder: Path, path: str, **kwargs: object) -> None:
    with safe_loading():
        toy_runner(folder / 'run', Toy(), load_from=path, **kwargs).train()


def test_no_way_runs_code(tmp_path: Path) -> None:
    marker = tmp_path / 'ran'
    ways: dict[str, Callable[[str], object]] = {
        'read': read,
        'load_backbone': lambda path: load_backbone(MobileNetV2(0.35), path),
        'backbone of ours': lambda path: MobileNetV2(
            0.35, init_cfg=dict(type='Pretrained', checkpoint=path)
        ).init_weights(),
        'part of a host': pretrained,
        'load_from': lambda path: train(tmp_path, path),
        'resume': lambda path: train(tmp_path, path, resume=True),
        'address': lambda path: read(f'file://{path}'),
    }
    for path in evil_files(tmp_path, marker):
        for name, way in ways.items():
            with pytest.raises(InputError):
                way(str(path))
            assert not marker.exists(), (path, name)
        if path.suffix == '.pth':  # what they would do
            (torch.load if path.stem != 'plain' else unpickle)(path, weights_only=False)
            marker.rmdir()


def unpickle(path: Path, **_: object) -> object:
    return pickle.loads(path.read_bytes())


def test_the_config_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    """Runner.resume runs meta['config'] as Python."""
    marker = tmp_path / 'ran'
    toy_runner(tmp_path / 'run', Toy()).train()
    path = tmp_path / 'run/epoch_2.pth'
    content = read(path)
    content['meta']['config'] = f'import os\nos.mkdir({str(marker)!r})\na = 1'
    buffer = io.BytesIO()  # the file is mapped
    torch.save(content, buffer)
    path.write_bytes(buffer.getvalue())
    train(tmp_path, str(path), resume=True)
    assert not marker.exists()


def test_the_hosts_loader_is_as_before(tmp_path: Path) -> None:
    before = CheckpointLoader._schemes
    with pytest.raises(InputError), safe_loading():
        CheckpointLoader.load_checkpoint(str(tmp_path / 'none.pth'))
    assert CheckpointLoader._schemes is before


def test_names_of_mmengine_are_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []

    def download(url: str, path: Path, **_: object) -> None:
        fetched.append(url)
        path.parent.mkdir(parents=True)
        torch.save({'backbone.a': torch.ones(1)}, path)

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(addresses, 'download', download)
    for address in ('open-mmlab://resnet50_v1c', 'torchvision://mobilenet_v2'):
        assert set(read(address)) == {'backbone.a'}
    assert all(url.startswith('https://') for url in fetched)
    assert len(fetched) == 2
    with safe_loading():
        loaded = CheckpointLoader.load_checkpoint('mmcls://mobilenet_v2')
    assert set(loaded['state_dict']) == {'a'}
    for address in ('open-mmlab://none', 's3://bucket/a.pth'):
        with pytest.raises(InputError, match=address):
            read(address)


@pytest.fixture(scope='module')
def segmentor(tiny_config, tiny_data: Path) -> tuple[Path, dict, Path, nn.Module]:
    """Config of a small network of 6 classes, a checkpoint, an image, the model."""
    config = tiny_config('seg', name='damaged_seg')
    model = init_model(config)
    meta = {'dataset_meta': {'classes': tuple('abcdef')}}
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    content = {'state_dict': weights, 'meta': meta}
    return config, content, next(tiny_data.rglob('*.jpg')), model


def biases(value: torch.Tensor) -> dict:
    return {'weights': {'decode_head.conv_seg.bias': value}}


ONES = torch.ones(6)
DAMAGE = {
    'meta is a string': {'meta': 'x'},
    'dataset_meta is a list': {'meta': {'dataset_meta': [1]}},
    'classes is a number': {'meta': {'dataset_meta': {'classes': 5}}},
    'few classes': {'meta': {'dataset_meta': {'classes': ('a',)}}},
    'keys of meta are numbers': {'meta': {'dataset_meta': {1: 2}}},
    'preprocessing': {'meta': {'preprocessing': {'mean': 'x', 'std': [1.0]}}},
    'keys are numbers': {'weights': {0: ONES}},
    'not a number': biases(ONES * float('nan')),
    'infinite': biases(ONES * float('inf')),
    'sparse': biases(ONES.to_sparse()),
    'quantized': biases(torch.quantize_per_tensor(ONES, 1.0, 0, torch.qint8)),
    'meta device': biases(ONES.to('meta')),
}


@pytest.mark.parametrize('name', DAMAGE)
def test_damaged_values_are_one_message(
    name: str, segmentor, tmp_path, run_tool, capsys
):
    config, good, image, model = segmentor
    damage = dict(DAMAGE[name])
    path = tmp_path / 'a.pth'
    weights = {**good['state_dict'], **damage.pop('weights', {})}
    torch.save({**good, **damage, 'state_dict': weights}, path)
    with pytest.raises(InputError) as error:
        load(model, str(path))
    assert 'a.pth' in str(error.value)
    out = tmp_path / 'out'
    if name == 'not a number':  # one is enough: all load by guard.load
        with pytest.raises(InputError):
            inferencer(config, path)
        arguments = (config, image, '--weights', path, '--out-dir', out)
        assert run_tool('demo', *arguments) == 2
        assert capsys.readouterr().err.count('error:') == 1


@pytest.mark.parametrize(
    'damage',
    [
        {'message_hub': [1]},
        {'message_hub': {'log_scalars': {}}},
        {'optimizer': {'state': {0: 'x'}, 'param_groups': 3}},
        {'param_schedulers': [5]},
        {'meta': {'epoch': 'one', 'iter': 4}},
        {'meta': {}},
    ],
)
def test_a_damaged_state_is_not_resumed(damage: dict, tmp_path: Path) -> None:
    from mnv2_mm.engine.tool_runner import ToolRunner

    first = toy_runner(
        tmp_path / 'run', Toy(), train_cfg=dict(max_epochs=1, by_epoch=True)
    )
    first.train()
    content = read(tmp_path / 'run/epoch_1.pth') | damage
    path = tmp_path / 'damaged.pth'
    torch.save(content, path)
    runner = toy_runner(
        tmp_path / 'run',
        Toy(),
        load_from=str(path),
        resume=True,
        param_scheduler=[dict(type='ConstantLR', factor=1.0)],
    )
    runner.__class__ = ToolRunner
    with pytest.raises(InputError, match='damaged'), safe_loading():
        runner.train()


@pytest.mark.parametrize('trust', [False, True])
def test_a_trusted_file_becomes_a_safe_one(
    trust: bool, segmentor, tmp_path, run_tool
) -> None:
    config, good, *_ = segmentor
    marker, path, out = tmp_path / 'ran', tmp_path / 'a.pth', tmp_path / 'out.pth'
    torch.save({**good, 'extra': Creates(marker)}, path)
    arguments = [path, out, '--config', config, *(['--trust'] if trust else [])]
    assert run_tool('convert_weights', *arguments, '--quiet') == (0 if trust else 2)
    assert marker.exists() == out.exists() == trust
    if trust:
        assert read(out)['state_dict'].keys() == good['state_dict'].keys()


@pytest.mark.slow
@pytest.mark.parametrize('tool', ['demo', 'test', 'train', 'resume', 'deploy'])
def test_no_tool_runs_code(tool: str, segmentor, tmp_path: Path) -> None:
    config, good, image, _ = segmentor
    marker, path = tmp_path / 'ran', tmp_path / 'evil.pth'
    torch.save({**good, 'meta': Creates(marker)}, path)
    arguments = {
        'demo': ['demo', config, image, '--weights', path],
        'test': ['test', config, path],
        'train': ['train', config, '--cfg-options', f'load_from={path}'],
        'resume': ['train', config, '--resume', path],
        'deploy': [
            'deploy', 'seg_onnxruntime_static_513', config, path, image,
            '--work-dir', tmp_path / 'exported',
        ],
    }[tool]  # fmt: skip
    name, *rest = map(str, arguments)
    done = subprocess.run(
        [sys.executable, ROOT / f'tools/{name}.py', *rest],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert not marker.exists()
    assert done.returncode == 2, done.stderr
    assert 'Traceback' not in done.stderr
