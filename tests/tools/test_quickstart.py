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
SLOW = pytest.mark.slow

#: Stands in for Python: notes each call, leaves what the real tool leaves.
_STUB = f"""#!/usr/bin/env bash
case $1:$2 in
    -c:*skimage*) echo photos; exit ;;  # the folder of scikit-image
    -c:*) shift 2 ;;  # torchrun
    -:work_dirs/*) exec {sys.executable} "$@" ;;
    -:*)  # the checkpoint of a network: of $WEIGHTS, or of the file that is given
        [ -n "$3" ] && {{ [ -e "$3" ] && echo "$3.pth" || exit 2; exit; }}
        echo 'this is the reason' >&2
        [ -n "$WEIGHTS" ] && echo "$WEIGHTS" || exit 2
        exit ;;
esac
while [[ $1 == -* ]]; do shift; done  # the flags of torchrun
echo "$*" >> calls.txt
name=$(basename "$1" .py)
echo "this is $name"
[ "$name" = "$FAIL" ] && exit 3
while [[ $# -gt 1 && $1 != --work-dir ]]; do shift; done
work=$2
case $name in
    make_sample_data)
        mkdir -p data/sample/images/val data/sample/classify/val/{{a,b}}
        for n in 1 2 3 4 5; do
            touch data/sample/images/val/$n.jpg
            touch data/sample/classify/val/{{a,b}}/$n.jpg
        done ;;
    train)
        mkdir -p $work/2026/vis_data
        touch $work/2026/2026.log
        key=coco/bbox_mAP_50 value=0.62
        [ $TASK = seg ] && key=mIoU value=71.2
        [ $TASK = cls ] && key=accuracy/top1 value=90.1
        record=$work/2026/vis_data/scalars.json
        echo '{{"lr": 0, "step": 9}}' > $record
        echo "{{\\"$key\\": $value, \\"step\\": 9}}" >> $record
        touch $work/epoch_9.pth ;;
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
    root: Path, *flags: str, task: str = 'det', fail: str = '', weights: str = ''
) -> subprocess.CompletedProcess:
    path = f'{root / "bin"}{os.pathsep}{os.environ["PATH"]}'
    return subprocess.run(
        ['bash', root / 'tools' / 'quickstart.sh', '--no-setup', *flags],
        env=os.environ
        | {'PATH': path, 'FAIL': fail, 'TASK': task}
        | {'WEIGHTS': weights},
        capture_output=True,
        text=True,
        cwd='/',  # works from anywhere
        check=False,
    )


def calls_of(root: Path) -> dict[str, str]:
    """The calls of Python so far, by tool; the first demo is that on photos."""
    calls = (root / 'calls.txt').read_text().splitlines()
    names = [Path(call.split()[0]).stem for call in calls]
    if names.count('demo') == 2:
        names[names.index('demo')] = 'photos'
    return dict(zip(names, calls, strict=True))


@pytest.mark.parametrize(
    ('task', 'config', 'result'),
    [
        ('det', 'ssdlite_sample', 'mAP@50 on the validation split: 0.620'),
        ('seg', 'deeplabv3_sample', 'mIoU on the validation split: 0.712'),
        ('cls', 'mnv2_sample', 'top-1 on the validation split: 0.901'),
    ],
)
def test_stages_in_order(checkout: Path, task: str, config: str, result: str) -> None:
    done = quickstart(checkout, '--task', task, task=task)
    assert done.returncode == 0, done.stderr
    assert result in done.stdout
    stages = re.findall(r'^==== \[(\d)/6\]', done.stdout, re.MULTILINE)
    assert stages == list('123456')
    calls = calls_of(checkout)
    assert list(calls) == ['make_sample_data', 'train', 'demo', 'plot_curves']
    assert 'this is the reason' in done.stderr and '--weights FILE' in done.stdout
    work = f'work_dirs/quickstart_{task}/random_start'
    path = f'configs/sample/{config}.py'
    train, _, options = calls['train'].partition(' --launcher ')
    assert train == f'tools/train.py {path} --work-dir {work} --resume'
    if os.cpu_count() > 1:
        # two processes, and half of the batch for each
        batch = Config.fromfile(ROOT / path).train_dataloader.batch_size
        assert f'train_dataloader.batch_size={batch // 2}' in options
    else:
        assert not options
    assert f'--weights {work}/epoch_9.pth' in calls['demo']
    images = [word for word in calls['demo'].split() if word.endswith('.jpg')]
    assert len(images) == (6 if task == 'cls' else 5)


@pytest.mark.parametrize('given', [True, False])
@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_photos_then_training_from_the_same_weights(
    checkout: Path, task: str, given: bool
) -> None:
    """Weights from the cache or the net, or of a file of the user's."""
    (checkout / 'mine.tflite').touch()
    flags = ['--weights', str(checkout / 'mine.tflite')] if given else []
    start = f'{checkout}/mine.tflite.pth' if given else 'cache/known.pth'
    done = quickstart(checkout, '--task', task, *flags, task=task, weights=start)
    assert done.returncode == 0, done.stderr
    calls = calls_of(checkout)
    assert next(iter(calls)) == 'photos'
    assert calls['photos'].count('photos/data/') == 3
    work = f'work_dirs/quickstart_{task}'
    assert f'--weights {start}' in calls['photos']
    assert f'{work}/real_photos' in calls['photos']
    (name,) = re.findall(r'configs/sample/(\w+_finetune).py', calls['train'])
    assert f'--work-dir {work}/finetune --resume' in calls['train']
    key = 'model.backbone.init_cfg.checkpoint'
    assert f'{key}={start}' in calls['train']
    # the config's own checkpoint is that of the network on the photos
    network = calls['photos'].split()[1]
    backbone = Config.fromfile(ROOT / f'configs/sample/{name}.py').model.backbone
    assert backbone.init_cfg.checkpoint == f'mnv2_mm://{network}'
    assert (ROOT / f'configs/official/{network}.py').is_file()
    assert f'{work}/finetune/epoch_9.pth' in calls['demo']


def test_weights_that_are_there_can_be_left_out(checkout: Path) -> None:
    assert quickstart(checkout, '--random', weights='known.pth').returncode == 0
    calls = calls_of(checkout)
    assert 'photos' in calls
    assert 'quickstart_det/random_start' in calls['train']
    assert 'known' not in calls['train']


def test_a_file_that_is_not_there_ends_it(checkout: Path) -> None:
    done = quickstart(checkout, '--weights', 'none.tflite')
    assert done.returncode == 2
    assert '/none.tflite' in done.stderr
    assert not (checkout / 'calls.txt').exists()


@pytest.mark.parametrize(
    ('fail', 'stage'),
    [
        ('make_sample_data', '[3/6] sample data set'),
        ('train', '[4/6] training'),
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


@pytest.mark.parametrize(
    'flags', [['--task', 'pose'], ['--task'], ['--weights'], ['--x']]
)
def test_wrong_flags(checkout: Path, flags: list[str]) -> None:
    done = quickstart(checkout, *flags)
    assert done.returncode == 2
    assert 'error: ' in done.stderr
    assert not (checkout / 'work_dirs').exists()


@SLOW
@pytest.mark.parametrize(
    ('task', 'least'), [('det', 0.85), ('seg', 0.75), ('cls', 0.9)]
)
def test_real_run_reaches_its_figure(tmp_path: Path, task: str, least: float) -> None:
    for name in ('mnv2_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, tmp_path / name)
    folder = Path(sys.executable).parent
    flags = ['--no-setup', '--random', '--task', task]
    done = subprocess.run(
        ['bash', tmp_path / 'tools/quickstart.sh', *flags],
        env=os.environ | {'PATH': f'{folder}{os.pathsep}{os.environ["PATH"]}'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    value = re.search(r'validation split: ([0-9.]+)', done.stdout)
    assert float(value[1]) >= least
    work = tmp_path / 'work_dirs' / f'quickstart_{task}' / 'random_start'
    assert (work / 'curves.png').stat().st_size > 10_000
    assert len(list((work / 'images').glob('*.jpg'))) >= 12


@pytest.mark.parametrize(
    ('ending', 'code'),
    [('sys.exit(7)', 7), pytest.param('os.kill(os.getpid(), 9)', 137, marks=SLOW)],
)
def test_two_processes_end_without_a_traceback(
    tmp_path: Path, ending: str, code: int
) -> None:
    """What torchrun would say of a process that has said why it ends."""
    script = (ROOT / 'tools/quickstart.sh').read_text()
    (program,) = re.findall(r"^torchrun='(.*?)'$", script, re.DOTALL | re.MULTILINE)
    child = tmp_path / 'child.py'
    child.write_text(f'import os, sys\n{ending}\n')
    flags = ['--standalone', '--nproc_per_node=2', child]
    done = subprocess.run(
        [sys.executable, '-c', program, *flags],
        env=os.environ | {'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (code, '')
