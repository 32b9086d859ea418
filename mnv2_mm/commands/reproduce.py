"""Evaluate the paper's rows with published weights; tools/reproduce.py calls this.

Each row ends in a file of its own in the work dir, so that an interrupted run goes on
with the next row. Data and weights of all rows are checked before the first one starts.
"""

import copy
import hashlib
import json
import time
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import torch
from mmengine.config import Config

from mnv2_mm.analysis.accuracy import measure
from mnv2_mm.analysis.interpreter import InterpretedModel, interpreter
from mnv2_mm.analysis.markdown import plain_text
from mnv2_mm.analysis.reproduction import (
    IN_HOST,
    METRICS,
    TASKS,
    Target,
    evaluation_config,
    host_config,
    host_weights,
    markdown,
    peer_config,
    published_accuracy,
    targets,
)
from mnv2_mm.checkpoints.convert import convert, read_weights, save, translate
from mnv2_mm.checkpoints.hub import fetch, published_models
from mnv2_mm.checkpoints.loading import safe_loading
from mnv2_mm.checkpoints.source import Source
from mnv2_mm.datasets.layouts import WHOLE, Choice, Layout, find_layout
from mnv2_mm.engine.launch import build_runner, preflight, set_work_dir
from mnv2_mm.runtime.machine import describe
from mnv2_mm.utils.config_errors import readable_config_errors
from mnv2_mm.utils.console import filter_warnings
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import user_path, write_json, write_text
from mnv2_mm.utils.modules import unwrap
from mnv2_mm.version import __version__

#: Half of an interval, in points, from which a figure says too little: rows of the
#: paper's tables are one to three points apart.
WIDE = 2.0
#: Images below which the interval of a bootstrap itself says too little.
FEW = 100
Row = dict[str, object]


@dataclass(kw_only=True)
class Run:
    """One evaluation, or a row without weights."""

    id: str
    row: str
    paper: float | None = None
    publisher: float | None = None
    stated_by: str = ''
    note: str = ''
    cfg: Config | None = None  #: None without weights
    source: Source | None = None  #: the file of weights
    own: Config | None = None  #: where ``cfg`` has the host's network: that with ours
    file: bool = False  #: whether the TFLite file itself is run
    key: str = ''  #: digest of all that decides the result

    def described(self) -> Row:
        """What of it goes into the result."""
        names = ('id', 'row', 'paper', 'publisher', 'stated_by', 'note', 'key')
        return {name: getattr(self, name) for name in names}


def reproduce(args: Namespace) -> list[Row]:
    """Evaluate by the flags of tools/reproduce.py; returns one dictionary a row."""
    filter_warnings()
    task = TASKS[args.table]
    rows = targets(args.table, args.rows)
    if not any(row.published for row in rows):
        commands = '\n'.join(row.train for row in rows)
        raise InputError(f'no weights are published for these rows; train:\n{commands}')
    folder = Path(args.work_dir or f'work_dirs/reproduce_{args.table}')
    choice = Choice(args.limit, args.partial, args.ids, args.classes == ['any'])
    layout = find_layout(task, user_path(args.data), folder, choice)
    print(f'data: {layout.images} images, {layout.place}')
    runs = [*_runs(args, rows, layout), *_peers(args, layout)]
    _finish_configs([run for run in runs if run.cfg], args, layout)
    paths = {run.id: folder / f'{run.id}.json' for run in runs}
    _check_weights(
        run for run in runs if run.cfg and not _finished(paths[run.id], run.key)
    )
    results = []
    for run in runs:
        path = paths[run.id]
        done = _finished(path, run.key) if run.cfg else run.described()
        if done is None:
            done = _evaluate(run, layout, folder / run.id, task)
            write_json(path, done)
        elif run.cfg:
            print(f'{run.row}: measured before, {path}')
        results.append(done)
    text = markdown(results, args.table)
    print(f'\n{plain_text(text)}')
    if args.markdown:
        write_text(args.markdown, text)
    if args.json:
        write_json(args.json, results)
    return results


# ----------------------------------------------------------- before the first row
def _runs(args: Namespace, rows: Sequence[Target], layout: Layout) -> list[Run]:
    """Everything to evaluate, with its config and file; stops at what is missing."""
    task = TASKS[args.table]
    if args.host and task == 'det':
        raise InputError(
            "--host is for classifiers and DeepLab: mmdet's SSDLite takes other maps "
            '(96 channels, not 576), so these weights do not fit'
        )
    if args.peers and args.table != 'table4':
        raise InputError('--peers takes ImageNet weights of MobileNetV2; give table4')
    given = _given(args.weights, [row for row in rows if row.published])
    runs = []
    for target in rows:
        run = Run(id=target.id, row=target.name, paper=target.paper)
        runs.append(run)
        if not target.published:
            run.note = f'no weights; {target.train}'
            continue
        path = given.get(target.published)
        if path is None:
            try:
                path = fetch(published_models()[target.published])
            except InputError as error:
                raise InputError(f'{error}\nor choose rows with --rows') from error
        run.source = read_weights(path)
        run.cfg = evaluation_config(
            target, layout, run.source, classes=args.classes, opencv=args.opencv_resize
        )
        name = _name_of(run.source)
        if task == 'det':
            run.note = 'paper: test-dev, publisher: minival'
        if name and name != target.published:
            run.note = f'weights: {name}'
        run.publisher, run.stated_by = published_accuracy(
            name or target.published, multi_scale=target.multi_scale
        )
        # the file computes at output stride 16
        if args.interpreter and not target.multi_scale:
            row = f'{run.row}, the file itself'
            cfg = copy.deepcopy(run.cfg)
            other = replace(run, id=f'{run.id}_file', row=row, cfg=cfg, file=True)
            runs.append(other)
        if args.host:
            row, cfg = f'{run.row}{IN_HOST}', host_config(run.cfg)
            other = replace(run, id=f'{run.id}_host', row=row, cfg=cfg, own=run.cfg)
            runs.append(other)
    return runs


def _given(entries: Sequence[str], rows: Sequence[Target]) -> dict[str, Path]:
    """Files of ``--weights``: NAME=FILE, a folder, or one file for a single network."""
    found: dict[str, Path] = {}
    names = {row.id: row.published for row in rows}
    names |= {row.published: row.published for row in rows}
    needed = sorted(set(names.values()))
    for entry in entries:
        name, sign, file = entry.rpartition('=')
        path = user_path(file)
        if sign and name not in names:
            raise InputError(f'--weights {entry}: the rows need {", ".join(needed)}')
        if not path.exists():
            raise InputError(f'--weights {entry}: there is no {path}')
        if path.is_dir() and not sign:
            models = published_models()
            # the float network before that of 8 bits
            pairs = [(n, f'{n}{end}') for end in ('_quant', '') for n in needed]
            files = [(n, models[m].file) for n, m in pairs if m in models]
            there = {n: path / file for n, file in files if (path / file).is_file()}
            if not there:
                wanted = ', '.join(sorted({file for _, file in files}))
                raise InputError(f'{path} has none of {wanted}; or give NAME=FILE')
            found |= there
        elif sign or len(needed) == 1:
            found[names[name] if sign else needed[0]] = path
        else:
            raise InputError(
                f'--weights {entry}: write NAME={entry}, with one of '
                f'{", ".join(needed)}'
            )
    return found


def _name_of(source: Source) -> str | None:
    """Published network whose digest a file has."""
    for model in published_models().values():
        if model.digest == f'sha256:{source.sha256}':
            return model.name
    return None


def _peers(args: Namespace, layout: Layout) -> list[Run]:
    """Weights of torchvision, timm and mmpretrain in the network of Table 4."""
    runs = []
    for file in args.peers:
        source = read_weights(file)
        key_map = translate(source).key_map
        (target,) = targets('table4', ['mobilenet_v2'])
        cfg = peer_config(evaluation_config(target, layout, source), source, key_map)
        name = Path(file).stem
        row = f'{name}, of {key_map}'
        runs.append(Run(id=f'peer_{name}', row=row, cfg=cfg, source=source))
    return runs


def _finish_configs(runs: Sequence[Run], args: Namespace, layout: Layout) -> None:
    """Set what is common, check the data, and compute the keys of the results."""
    for run in runs:
        loader = run.cfg.test_dataloader
        loader.num_workers = args.workers
        loader.persistent_workers = args.workers > 0
        if args.batch_size:
            loader.batch_size = args.batch_size
        run.cfg.visualizer.name = run.cfg.experiment_name = run.id
        run.cfg.custom_hooks = []  # those of trainings: an average of the weights
        # the images once
        if run is runs[0] or args.table == 'table6':
            preflight(run.cfg, splits=('test',))
        model, data = run.cfg.model.to_dict(), loader.dataset.to_dict()
        weights = run.source.sha256
        parts = (__version__, weights, run.file, layout.digest, model, data)
        run.key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _check_weights(runs: Iterable[Run]) -> None:
    """Convert each file for its network, a second at most, and open those to run."""
    for run in runs:
        convert(run.source, run.own or run.cfg)
        if run.file:
            interpreter(Path(run.source.path))


def _finished(path: Path, key: str) -> Row | None:
    """The result of an earlier run of the same evaluation."""
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get('key') == key else None


# ------------------------------------------------------------------ one row
@safe_loading()
def _evaluate(run: Run, layout: Layout, folder: Path, task: str) -> Row:
    """Convert the weights, run the host's test loop, and describe the result."""
    file, cfg = Path(run.source.path), copy.deepcopy(run.cfg)
    print(f'\n{run.row}: {file.name}', flush=True)
    checkpoint, report = convert(run.source, run.own or run.cfg)
    print(f'converted: {report.summary()}')
    if run.own:  # the host has other names for the same tensors
        checkpoint['state_dict'] = host_weights(checkpoint['state_dict'])
    weights = folder / 'weights.pth'
    save(checkpoint, weights)
    set_work_dir(cfg, str(folder))
    cfg.load_from, cfg.resume = str(weights), False
    if task == 'det':
        cfg.test_evaluator.outfile_prefix = str(folder / 'boxes')
    start = time.monotonic()
    with readable_config_errors(cfg):
        runner = build_runner(cfg)
        if run.file:
            runner.load_or_resume()
            runner.model = InterpretedModel(unwrap(runner.model), file)
        found = measure(runner, task)
    stated = run.paper if run.publisher is None else run.publisher
    more = {name: round(value, 2) for name, value in found.more.items()}
    notes = [run.note] if run.note else []
    notes += [f'{name} {value:g}' for name, value in more.items()]
    if (found.high - found.low) / 2 > WIDE or layout.images < FEW:
        notes.append('too few images for a statement')
    return run.described() | dict(
        metric=METRICS[task],
        measured=found.value,
        difference=None if stated is None else found.value - stated,
        interval=[found.low, found.high],
        images=layout.images,
        whole_set=WHOLE[task],
        more=more,
        note='; '.join(notes),
        seconds=round(time.monotonic() - start, 1),
        weights=file.name,
        sha256=run.source.sha256,
        machine=describe(),
        torch=torch.__version__,
        date=date.today().isoformat(),
    )
