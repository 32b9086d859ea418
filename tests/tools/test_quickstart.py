"""tools/quickstart.sh: its stages, without and with the real work."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]

#: Stands in for Python: notes each call, leaves what the real tool leaves.
_STUB = f"""#!/usr/bin/env bash
[ "$1" = - ] && exec {sys.executable} "$@"
while [[ $1 == -* || $1 == torch* ]]; do shift; done  # torchrun and its flags
echo "$*" >> calls.txt
name=$(basename "$1" .py)
echo "this is $name"
[ "$name" = "$FAIL" ] && exit 3
work=work_dirs/quickstart_$TASK
case $name in
    make_sample_data)
        mkdir -p data/sample/images/val data/sample/classify/val/{{a,b}}
        for n in 1 2 3 4 5; do
            touch data/sample/images/val/$n.jpg
            touch data/sample/classify/val/{{a,b}}/$n.jpg
        done ;;
    train)
        mkdir -p $work/2026/
        touch $work/2026/2026.log
        [ -e $work/epoch_9.pth ] || touch $work/{{epoch_9,best_x}}.pth ;;
    test)
        sleep 0.02
        key=coco/bbox_mAP_50 value=0.62
        [ $TASK = seg ] && key=mIoU value=71.2
        [ $TASK = cls ] && key=accuracy/top1 value=90.1
        echo "{{\\"metrics\\": {{\\"$key\\": $value}}}}" \\
            > $work/metrics.json ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script alone, and a stub for Python."""
    root = tmp_path / 'with space'
    (root / 'tools').mkdir(parents=True)
    shutil.copy(ROOT / 'tools' / 'quickstart.sh', root / 'tools')
    stub = root / 'bin' / 'python'
    stub.parent.mkdir()
    stub.write_text(_STUB)
    stub.chmod(0o755)
    return root


def quickstart(
    root: Path, *flags: str, task: str = 'det', fail: str = ''
) -> subprocess.CompletedProcess:
    path = f'{root / "bin"}{os.pathsep}{os.environ["PATH"]}'
    return subprocess.run(
        ['bash', root / 'tools' / 'quickstart.sh', '--no-setup', *flags],
        env=os.environ | {'PATH': path, 'FAIL': fail, 'TASK': task},
        capture_output=True,
        text=True,
        cwd='/',  # works from anywhere
        check=False,
    )


@pytest.mark.parametrize(
    ('task', 'config', 'result'),
    [
        ('det', 'ssdlite_sample', 'mAP@50 on the validation split: 0.620'),
        ('seg', 'deeplabv3_sample', 'mIoU on the validation split: 0.712'),
        ('cls', 'mnv2_sample', 'top-1 on the validation split: 0.901'),
    ],
)
def test_stages_in_order_and_again(
    checkout: Path, task: str, config: str, result: str
) -> None:
    done = quickstart(checkout, '--task', task, task=task)
    assert done.returncode == 0, done.stderr
    assert result in done.stdout
    stages = re.findall(r'^==== \[(\d)/6\]', done.stdout, re.MULTILINE)
    assert stages == list('123456')
    calls = (checkout / 'calls.txt').read_text().splitlines()
    names = [Path(call.split()[0]).stem for call in calls]
    assert names == ['make_sample_data', 'train', 'test', 'demo', 'plot_curves']
    work = f'work_dirs/quickstart_{task}'
    path = f'configs/sample/{config}.py'
    assert (ROOT / path).is_file()
    train, *flags = calls[1].split(' --launcher ')
    assert train == f'tools/train.py {path} --work-dir {work} --resume'
    if task == 'seg' and os.cpu_count() > 1:
        # two processes, and half of the batch for each
        batch = Config.fromfile(ROOT / path).train_dataloader.batch_size
        options = f'--cfg-options train_dataloader.batch_size={batch // 2}'
        assert flags == [f'pytorch {options}']
    else:
        assert not flags
    assert calls[2].split()[1:3] == [path, f'{work}/best_x.pth']
    images = [word for word in calls[3].split() if word.endswith('.jpg')]
    assert len(images) == (6 if task == 'cls' else 5)
    # again: the evaluation of this very checkpoint is there
    assert quickstart(checkout, f'--task={task}', task=task).returncode == 0
    calls = (checkout / 'calls.txt').read_text().splitlines()[5:]
    names = [Path(call.split()[0]).stem for call in calls]
    assert names == ['make_sample_data', 'train', 'demo', 'plot_curves']


@pytest.mark.parametrize(
    ('fail', 'stage'),
    [
        ('make_sample_data', '[2/6] sample data set'),
        ('train', '[3/6] training'),
        ('test', '[4/6] evaluation'),
        ('demo', '[5/6] images'),
        ('plot_curves', '[6/6] curves'),
    ],
)
def test_failing_stage_is_named(checkout: Path, fail: str, stage: str) -> None:
    done = quickstart(checkout, fail=fail)
    assert done.returncode == 3
    assert f'error: {stage}' in done.stderr
    assert 'failed (exit code 3)' in done.stderr
    assert 'work_dirs/quickstart_det/quickstart.log' in done.stderr
    log = checkout / 'work_dirs' / 'quickstart_det' / 'quickstart.log'
    if fail != 'train':  # which keeps its own
        assert f'this is {fail}' in log.read_text()


@pytest.mark.parametrize('flags', [['--task', 'pose'], ['--task'], ['--x']])
def test_wrong_flags(checkout: Path, flags: list[str]) -> None:
    done = quickstart(checkout, *flags)
    assert done.returncode == 2
    assert 'error: ' in done.stderr
    assert not (checkout / 'work_dirs').exists()


@pytest.mark.slow
@pytest.mark.parametrize(('task', 'least'), [('det', 0.5), ('seg', 0.6), ('cls', 0.8)])
def test_real_run_reaches_its_figure(tmp_path: Path, task: str, least: float) -> None:
    for name in ('mnv2_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, tmp_path / name)
    folder = Path(sys.executable).parent
    done = subprocess.run(
        ['bash', tmp_path / 'tools/quickstart.sh', '--no-setup', '--task', task],
        env=os.environ | {'PATH': f'{folder}{os.pathsep}{os.environ["PATH"]}'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    value = re.search(r'validation split: ([0-9.]+)', done.stdout)
    assert float(value[1]) >= least
    work = tmp_path / 'work_dirs' / f'quickstart_{task}'
    assert (work / 'curves.png').stat().st_size > 10_000
    assert len(list((work / 'images').glob('*.jpg'))) >= 12
