"""Shared fixtures: small data, complete small configs, finished trainings.

``tiny_config`` gives complete configs of the three tasks that train in
seconds: the real bases, a few small images, a narrow network.
"""

import gc
import importlib.util
import itertools
import logging
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from filelock import FileLock

# the imports leave hardly any garbage; see pytest_collection_finish
gc.disable()
# before torch is loaded; see tools/train.py
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')


_numbers = itertools.count()
ROOT = Path(__file__).resolve().parents[1]

_MODEL = {'det': 'ssdlite_mnv2', 'seg': 'deeplabv3_mnv2', 'cls': 'mnv2_cls'}
_CHANGES = {
    'det': """
    model = dict(
        backbone=dict(widen_factor=0.35),
        neck=dict(in_channels=(192, 448), widen_factor=0.25),
        bbox_head=dict(
            num_classes=5,
            in_channels=(192, 448, 128, 64, 64, 32),
            anchor_generator=dict(input_size=128),
        ),
    )
    val_evaluator = dict(ann_file='{data}/annotations/val.json')
    test_evaluator = val_evaluator
    """,
    'seg': """
    model = dict(
        backbone=dict(widen_factor=0.35),
        data_preprocessor=dict(size=(96, 96)),
        decode_head=dict(in_channels=112, channels=32, num_classes=6),
    )
    """,
    'cls': """
    model = dict(backbone=dict(widen_factor=0.35), head=dict(num_classes=5))
    """,
}
_COMMON = """
    train_dataloader = dict(
        batch_size=8,
        num_workers=0,
        persistent_workers=False,
        dataset=dict(data_root='{data}'),
    )
    val_dataloader = dict(
        num_workers=0,
        persistent_workers=False,
        dataset=dict(data_root='{data}'),
    )
    test_dataloader = val_dataloader
    optim_wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.001, momentum=0.9),
        clip_grad=dict(max_norm=5),
    )
    default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1))
    val_cfg = dict(type='ValLoop')
    test_cfg = dict(type='TestLoop')
"""
_LENGTH = {
    True: "dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)",
    False: "dict(type='IterBasedTrainLoop', max_iters=2, val_interval=1)",
}


@pytest.fixture(autouse=True)
def _no_default_scope() -> None:
    """Forget the scope that an earlier test has set, in whatever order they run."""
    if 'mmengine.registry' in sys.modules:
        sys.modules['mmengine.registry'].DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True, scope='session')
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what fixtures of several tests convert out of the user's cache."""
    folder = tmp_path_factory.getbasetemp() / 'caches/shared'
    with mock.patch.dict(os.environ, MNV2_MM_CACHE=str(folder)):
        yield


@pytest.fixture(autouse=True)
def _own_exports(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep the networks that a test exports out of the user's cache, and of others."""
    folder = tmp_path_factory.getbasetemp() / 'caches' / str(next(_numbers))
    monkeypatch.setenv('MNV2_MM_CACHE', str(folder))


def pytest_collection_finish() -> None:
    """Spare what the imports left from collections of garbage; leave two steps out."""
    gc.freeze()
    gc.enable()
    # mmengine lays a config out by yapf seven times in each run of a tool, which is
    # half of the time of a small training
    if 'mmengine.config' in sys.modules:
        from yapf.yapflib import yapf_api

        yapf_api.FormatCode = lambda text, **_: (text, True)
    # each data set that is built collects garbage, a second where the hosts are loaded
    if 'mmengine.dataset.base_dataset' in sys.modules:
        sys.modules['mmengine.dataset.base_dataset'].gc = mock.Mock()


@pytest.fixture(scope='session')
def once(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, Callable[[Path], object]], Path]:
    """Make a folder by its name, one time for all processes of a session."""
    root = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        root = root.parent  # of all processes
    root /= 'shared'
    root.mkdir(exist_ok=True)

    def get(name: str, make: Callable[[Path], object]) -> Path:
        folder = root / name
        with FileLock(f'{folder}.lock'):
            if not (done := root / f'{name}.done').exists():
                make(folder)
                done.touch()
        return folder

    return get


@pytest.fixture(scope='session')
def tiny_data(once: Callable[..., Path]) -> Path:
    """The generated sample set, with 16 + 8 images of 64 x 64 pixels."""
    from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set

    settings = SampleSettings(train=16, val=8, width=64, height=64, crop_size=32)
    return once('sample', lambda folder: write_sample_set(folder, settings))


@pytest.fixture(scope='session')
def tiny_config(
    tiny_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Write a config of a task ('det', 'seg', 'cls'); returns its path."""
    folder = tmp_path_factory.mktemp('configs')

    def write(task: str, extra: str = '', name: str | None = None) -> Path:
        bases = [f'models/{_MODEL[task]}', f'datasets/sample_{task}', f'runtime/{task}']
        lines = [f'_base_ = {[f"{ROOT}/configs/_base_/{b}.py" for b in bases]}']
        for text in (_COMMON, _CHANGES[task]):
            text = textwrap.dedent(text).replace('{data}', str(tiny_data))
            lines.append(text)
        lines.append(f'train_cfg = {_LENGTH[task != "seg"]}')
        lines.append(textwrap.dedent(extra))
        path = folder / f'{name or "tiny_" + task}.py'
        path.write_text('\n'.join(lines))
        return path

    return write


def _forget_runs() -> None:
    """Drop mmengine's global loggers and visualizers, by name.

    A second run in one process would write into the files of the first.
    """
    from mmengine.utils import ManagerMixin

    classes = [ManagerMixin]
    for cls in classes:
        classes += cls.__subclasses__()
        cls._instance_dict.clear()


@pytest.fixture(scope='session')
def run_tool() -> Callable[..., int]:
    """Run tools/NAME.py in this process; returns its exit code."""

    def run(name: str, *args: object) -> int:
        path = ROOT / 'tools' / f'{name}.py'
        spec = importlib.util.spec_from_file_location(f'tool_{name}', path)
        module = importlib.util.module_from_spec(spec)
        with mock.patch.object(sys, 'argv', [str(path), *map(str, args)]):
            spec.loader.exec_module(module)
            _forget_runs()
            try:
                with pytest.raises(SystemExit) as ended:
                    module.main()
            finally:
                _forget_runs()
                logging.disable(logging.NOTSET)  # what a tool hides until it ends
        return ended.value.code or 0

    return run


@pytest.fixture(scope='session')
def trained(
    tiny_config: Callable[..., Path],
    run_tool: Callable[..., int],
    once: Callable[..., Path],
) -> Callable[[str], tuple[Path, Path]]:
    """Config and checkpoint of a finished short training of a task."""

    def get(task: str) -> tuple[Path, Path]:
        config = tiny_config(task)

        def train(work_dir: Path) -> None:
            assert run_tool('train', config, '--work-dir', work_dir) == 0

        unit = 'iter' if task == 'seg' else 'epoch'
        return config, once(f'trained_{task}', train) / f'{unit}_2.pth'

    return get
