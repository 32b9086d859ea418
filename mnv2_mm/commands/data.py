"""From a folder of annotations in any format to a config that trains as it is.

tools/prepare_data.py (``mnv2 data``) calls this.
"""

import re
import shlex
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mnv2_mm.checkpoints.start import write_start
from mnv2_mm.datasets.own import recipe
from mnv2_mm.datasets.own.collect import collect
from mnv2_mm.datasets.own.formats import FORMATS, REPORT, Files, recognize, scan
from mnv2_mm.datasets.own.records import Problems, Record
from mnv2_mm.datasets.own.split import split_records
from mnv2_mm.datasets.own.summary import draw_summary
from mnv2_mm.datasets.own.writer import (
    SetToWrite,
    check_place,
    write_config,
    write_images,
    write_report,
)
from mnv2_mm.runtime.drawing import default_palette
from mnv2_mm.utils.console import filter_warnings
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import user_path, whole_folder

#: How many times the matches of the official default boxes others must have. The box
#: layers of a trained detector were made for the official ones: on BCCD at 224 px, mAP
#: 0.522 with them, 0.494 with others of 1.5 times the matches (8 epochs, seed 0).
MIN_GAIN, MIN_GAIN_TRAINED = 1.1, 2.0
SUMMARY = 'summary.png'
#: Least --input-size: SSDLite halves its maps until one pixel is left.
MIN_SIZE = 96


def prepare(args: Namespace) -> None:
    """Prepare a data set by the flags of tools/prepare_data.py."""
    filter_warnings()
    if args.input_size is not None and args.input_size < MIN_SIZE:
        raise InputError(f'--input-size is {args.input_size}; give {MIN_SIZE} or more')
    if args.epochs is not None and args.epochs < 1:
        raise InputError(f'--epochs is {args.epochs}; give 1 or more')
    source, out = user_path(args.source), user_path(args.out)
    config = re.sub(r'\W', '_', out.resolve().name).lower() + '.py'
    bars = Progress(console=Console(stderr=True), transient=True)
    check_place(out, force=args.force)
    with whole_folder(out) as made, bars:
        lines, problems = _make(source, made, config, args, _Steps(bars))
        write_report(made / REPORT, lines, problems)
    print('\n'.join(lines))
    for line in problems.lines():
        print(f'problem: {line}')
    print(
        f'written: {out / config}, {out / SUMMARY}; {out / REPORT} has every problem '
        f'with its files\n  train: mnv2 train {shlex.quote(str(out))}'
    )


class _InConfig(str):
    """A path for a config; mmengine puts in a folder, which may have an apostrophe."""

    def __repr__(self) -> str:
        return f'"""{self}"""'


def _make(
    source: Path, made: Path, config: str, args: Namespace, step: '_Steps'
) -> tuple[list[str], Problems]:
    """Fill the folder; returns what to say of it, and the problems."""
    problems = Problems()
    files = scan(source, step('looking for files'))
    problems.add('file begins with a byte-order mark (BOM); it is read', files.bom)
    format, records, classes = _read(files, args, problems, step)
    task = {'masks': 'seg', 'folders': 'cls'}.get(format, args.task or 'det')
    how = split_records(records, files, problems, args.seed)
    tick = step('writing images', len(records))
    content = SetToWrite(made, records, classes, files, problems, tick)
    values = write_images(task, content)
    start, weights, training = write_start(task, args.weights, made / 'start.pth')
    values |= training | recipe.schedule(
        task, records, trained=bool(weights), epochs=args.epochs
    )
    values |= {
        'data_root': _InConfig('{{ fileDirname }}'),
        'classes': tuple(classes),
        'start': _InConfig('{{ fileDirname }}/start.pth') if weights else None,
    }
    notes: dict[str, str] = {}
    side = _values_of_task(task, content, values, args)
    if task == 'det':
        trained = any(name.startswith('bbox_head.') for name in weights)
        if trained:  # plain SSD has one layer where SSDLite has two
            values['lite'] = 'bbox_head.cls_convs.0.weight' not in weights
        _choose_anchors(records, side, values, notes, trained=trained, seed=args.seed)
    write_config(task, made / config, values, notes)
    draw_summary(made / SUMMARY, records, classes, files, side)
    count = Counter(record.split for record in records)
    often = values['val_interval']
    often = f'{often} epochs' if often > 1 else 'epoch'
    lines = [
        f'source: {source} ({FORMATS[format]})',
        f'images: {", ".join(f"{n} {split}" for split, n in count.items())}; {how}',
        f'classes: {", ".join(classes[:20])}' + ', ...' * (len(classes) > 20),
        f'labels: {sum(len(record.labels) for record in records)}',
        f'start: {start}',
        *notes.values(),
        f'training: {values["max_epochs"]} epochs, batch {values["batch_size"]}, input '
        f'{side}, evaluated every {often}',
    ]
    return lines, problems


class _Steps:
    """A bar for each step of the work."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __call__(self, text: str, total: int | None = None) -> Callable[[], object]:
        if not self.progress.console.is_terminal:
            print(f'{text} ...', flush=True)
        task = self.progress.add_task(text, total=total)
        return lambda: self.progress.advance(task)


def _read(
    files: Files, args: Namespace, problems: Problems, step: _Steps
) -> tuple[str, list[Record], list[str]]:
    """Read each format that the folder may have; take the one with the most images."""
    names = recognize(files, args.task, args.format)
    found = []
    for name in names:
        own = Problems()
        tick = step(f'reading {FORMATS[name]}')
        records, classes = collect(name, files, own, tick, masks=args.task == 'seg')
        labeled = {record.path for record in records if record.labels}
        found.append((len(labeled), name, records, classes, own, labeled))
    found.sort(key=lambda entry: -entry[0])  # stable: of equals the first of FORMATS
    _, format, records, classes, own, labeled = found[0]
    for _, name, _, _, _, others in found[1:]:
        if others - labeled:
            raise InputError(
                f'{files.root} mixes formats: {FORMATS[format]} labels {len(labeled)} '
                f'images, {FORMATS[name]} {len(others - labeled)} others; convert one '
                f'of them, or read one alone with --format {format} or --format {name}'
            )
        what = 'of the same images' if others else 'without labels'
        problems.add(f'{FORMATS[name]} {what}; not read', files.formats[name])
    for kind, places in own.found.items():
        problems.add(kind, places)
    if not labeled:
        raise InputError(
            f'{files.root} ({FORMATS[format]}) has no label that can be used:\n'
            + '\n'.join(problems.lines())
        )
    return format, records, classes


def _values_of_task(
    task: str, content: SetToWrite, values: dict, args: Namespace
) -> int:
    """Add the values that only one task has; returns the side of the input."""
    records = content.records
    small = sum(r.split == 'train' for r in records) < recipe.SMALL_SET
    if task == 'seg':
        side = args.input_size or recipe.segmentation_crop(records)
        palette = [list(color) for color in default_palette(len(content.classes))]
        values |= {'crop': (side, side), 'palette': palette}
        values |= {'min_scale': 0.75 if small else 0.5}
    elif task == 'cls':
        side = args.input_size or recipe.classification_input(records)
        values |= {'input_size': side, 'min_crop': 0.25 if small else 0.08}
    else:
        side = args.input_size or recipe.detection_input(records)
        values |= {'input_size': (side, side), 'min_crop': 0.5 if small else 0.3}
    if task != 'det' and values['start'] is None:
        values['backbone_lr'] = 1
    return side


def _choose_anchors(
    records: list[Record],
    side: int,
    values: dict,
    notes: dict[str, str],
    *,
    trained: bool,
    seed: int,
) -> None:
    """Keep the official default boxes unless others match clearly more."""
    from mnv2_mm.analysis.anchor_fit import fit_anchors

    official, best = fit_anchors(records, side, seed=seed)
    least = MIN_GAIN_TRAINED if trained else MIN_GAIN
    better = best.matches > official.matches * least
    chosen, other = (best, official) if better else (official, best)
    names = ('k-means', 'the official') if better else ('the official', 'k-means')
    values |= {'scales': chosen.scales, 'reduce_lowest': chosen.reduce_lowest}
    low = min(chosen.recall, key=chosen.recall.get)
    text = (
        f'default boxes: {names[0]}; {chosen.mean:.1%} of the objects have one of IoU '
        f'0.5 (mean of the classes; least: {low}, {chosen.lowest:.1%}), '
        f'{chosen.matches:.1f} on average'
    )
    if other.scales != chosen.scales:
        text += (
            f'\nnot taken: {names[1]}; {other.mean:.1%} (least: {other.lowest:.1%}), '
            f'{other.matches:.1f} on average: scales = {other.scales}; reduce_lowest = '
            f'{other.reduce_lowest}'
        )
    notes['scales'] = text
