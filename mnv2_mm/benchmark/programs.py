"""Whole programs, from the start of the process to its end; data sets by their size.

The times are those of the clock: a user waits for imports, disks and threads too.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mnv2_mm.api import init_model
from mnv2_mm.benchmark.core import Case, Options, Step, case_group
from mnv2_mm.benchmark.detectors import OURS
from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = 100
#: Images of the annotation files; boxes of each, as many as COCO has.
COUNTS, BOXES = (1_000, 10_000, 100_000), 7
NAMES = tuple(f'class {i}' for i in range(1, 81))
_FIRST = 'tools/demo.py, the first time'
_INFERENCER = """
import sys
from mmdet.apis import DetInferencer
config, weights, photos, out = sys.argv[1:]
DetInferencer(config, weights, 'cpu')(photos, out_dir=out)
"""


def programs_cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py programs`."""
    root = options.folder
    photos = _photos(root, PHOTOS)
    (root / 'one').mkdir()
    shutil.copy(next(photos.iterdir()), root / 'one')
    weights = root / 'random.pth'
    torch.manual_seed(0)
    torch.save({'state_dict': init_model(OURS).state_dict()}, weights)
    found = _programs(
        'start of a program',
        root,
        {
            'import torch': ('-c', 'import torch'),
            'import mnv2_mm': ('-c', 'import mnv2_mm'),
            'import mnv2_mm.api': ('-c', 'import mnv2_mm.api'),
            'tools/train.py --help': (ROOT / 'tools/train.py', '--help'),
        },
    )
    for folder in (root / 'one', photos):
        count, out = len(list(folder.iterdir())), root / 'out'
        config = ROOT / f'configs/{OURS}.py'
        host = ('-c', _INFERENCER, config, weights, folder, out)
        tool = ROOT / 'tools/demo.py', OURS, folder, '--weights', weights
        tool += '--out-dir', out
        programs = {"mmdet's DetInferencer": host, 'tools/demo.py': tool}
        if count == 1:
            programs[_FIRST] = tool
        found += _programs(f'photos in, drawings out: {count}', root, programs)
    return found


def datasets_cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py datasets`."""
    photo = next(_photos(options.folder, 1).iterdir())
    found = []
    for count in COUNTS:
        file = options.folder / f'{count}.json'
        file.write_text(json.dumps(_annotations(photo.name, count)))
        make = partial(first_batch, str(file), str(photo.parent))
        title = 'COCO file to the first batch of 24'
        table = {'one process': dict(workers=0), 'two workers': dict(workers=2)}
        found += case_group(title, make, table, point=count, images=count, wall=True)
    return found


def _photos(root: Path, count: int) -> Path:
    """A folder of JPEGs of 640x480."""
    sample = SampleSettings(width=640, height=480, train=count, val=1)
    write_sample_set(root / 'sample', sample)
    return root / 'sample/images/train'


def _programs(title: str, root: Path, table: Mapping[str, tuple]) -> list[Case]:
    """Cases that start Python with some arguments."""
    cases = {
        name: dict(arguments=[*map(str, values)], forget=name == _FIRST)
        for name, values in table.items()
    }
    make = partial(program, str(root / 'cache'))
    return case_group(title, make, cases, processes=0, warmup=1, wall=True)


def program(cache: str, arguments: list[str], *, forget: bool = False) -> Step:
    """Python with some arguments and a cache folder, which may be empty each time."""
    environment = os.environ | {'MNV2_MM_CACHE': cache}

    def step() -> None:
        if forget:
            shutil.rmtree(cache, ignore_errors=True)
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise InputError(done.stderr.strip().rpartition('\n')[2])

    return step


def _annotations(name: str, count: int) -> dict[str, list]:
    """Content of a COCO file; all of its images are one file."""
    rng = np.random.default_rng(0)
    boxes = rng.uniform(10, 300, (count * BOXES, 4)).round(2)
    labels = rng.integers(1, 81, len(boxes)).tolist()
    return dict(
        images=[
            dict(id=i, file_name=name, width=640, height=480) for i in range(count)
        ],
        annotations=[
            dict(
                id=i,
                image_id=i // BOXES,
                category_id=label,
                bbox=box.tolist(),
                area=float(box[2] * box[3]),
                iscrowd=0,
            )
            for i, (box, label) in enumerate(zip(boxes, labels, strict=True))
        ],
        categories=[dict(id=i, name=name) for i, name in enumerate(NAMES, 1)],
    )


def first_batch(file: str, photos: str, workers: int) -> Step:
    """Read an annotation file and load a batch; the first call prints the memory."""
    init_default_scope('mmdet')
    loader = get_config(OURS).train_dataloader
    loader.update(num_workers=workers, persistent_workers=workers > 0)
    loader.dataset.update(
        data_root='',
        ann_file=file,
        data_prefix=dict(img=photos),
        metainfo=dict(classes=NAMES),
    )
    before, printed = _private(os.getpid()), []

    def step() -> None:
        batches = iter(Runner.build_dataloader(loader, seed=0))
        next(batches)
        if not printed:
            text = f'{_private(os.getpid()) - before:.0f} MB more in the process'
            for worker in getattr(batches, '_workers', ()):
                text += f', {_private(worker.pid):.0f} MB of its own in a worker'
            printed.append(text)
            print(f'  {workers} workers: {text}', flush=True)

    return step


def _private(pid: int) -> float:
    """Megabytes of a process that no other has; 0 where Linux does not tell."""
    try:
        text = Path(f'/proc/{pid}/smaps_rollup').read_text()
    except OSError:
        return 0.0
    found = [line.split() for line in text.splitlines() if 'Private_' in line]
    return sum(int(size) for _, size, _ in found) / 1000
