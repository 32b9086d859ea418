"""From a folder of annotations in any form to a config that trains as it is.

tools/prepare_data.py (``mnv2 data``) calls this.
"""

import re
import shutil
from argparse import Namespace
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mnv2_mm.checkpoints.convert import convert, needs_conversion, read_weights, save
from mnv2_mm.checkpoints.file import read, state_dict_of
from mnv2_mm.checkpoints.hub import (
    cache_folder,
    checkpoint_of,
    config_for,
    published_models,
)
from mnv2_mm.datasets.own import recipe
from mnv2_mm.datasets.own.collect import collect
from mnv2_mm.datasets.own.forms import FORMS, recognize, scan
from mnv2_mm.datasets.own.records import Problems, Record
from mnv2_mm.datasets.own.split import split_records
from mnv2_mm.datasets.own.summary import draw_summary
from mnv2_mm.datasets.own.writer import (
    REPORT,
    whole_folder,
    write_config,
    write_images,
    write_report,
)
from mnv2_mm.runtime.drawing import default_palette
from mnv2_mm.utils.console import filter_warnings
from mnv2_mm.utils.errors import InputError

#: Published networks to start from, the best for the task first.
STARTS = {
    'det': (('ssdlite_mnv2_coco', 'ssd_mnv2_openimages'),),
    'seg': (('deeplabv3_mnv2_voc', 'deeplabv3_mnv2_voc_quant'),),
    'cls': (),
}
IMAGENET = ('mnv2_in1k', 'mnv2_in1k_quant')
#: Mean recall that the default boxes must have, and what others must have over it.
MIN_RECALL, MIN_GAIN = 0.8, 0.05


def prepare(args: Namespace) -> None:
    """Prepare a data set by the flags of tools/prepare_data.py."""
    filter_warnings()
    source, out = Path(args.source).expanduser(), Path(args.out).expanduser()
    problems = Problems()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        step = _Steps(progress)
        files = scan(source, step('looking for files'))
        problems.add('file begins with a byte-order mark (BOM); it is read', files.bom)
        form, records, classes = _read(files, args, problems, step)
        task = {'masks': 'seg', 'folders': 'cls'}.get(form, args.task or 'det')
        how = split_records(records, files, problems, args.seed)
        if not any(record.labels for record in records):
            raise InputError(
                f'{source} has no label that can be used:\n'
                + '\n'.join(problems.lines())
            )
        with whole_folder(out, force=args.force) as made:
            facts = write_images(
                task, made, records, classes, files, problems,
                step('writing images', len(records)),
            )  # fmt: skip
            start, values = _start(task, args.weights, made)
            notes: dict[str, str] = {}
            values |= facts | recipe.schedule(task, records)
            side = _values_of_task(task, records, classes, values, notes, args.seed)
            values['data_root'] = '{{ fileDirname }}'
            values['classes'] = tuple(classes)
            config = re.sub(r'\W', '_', out.resolve().name).lower() + '.py'
            write_config(task, made / config, values, notes)
            draw_summary(made / 'summary.png', records, classes, files, side)
            count = Counter(record.split for record in records)
            lines = [
                f'source: {source} ({FORMS[form]})',
                f'images: {", ".join(f"{n} {s}" for s, n in count.items())}; {how}',
                f'classes: {", ".join(classes[:20])}' + ', ...' * (len(classes) > 20),
                f'labels: {sum(len(r.labels) for r in records)}',
                f'start: {start}',
                *notes.values(),
                f'training: {values["max_epochs"]} epochs, batch '
                f'{values["batch_size"]}, input {side}, evaluated every '
                f'{values["val_interval"]} epochs',
            ]
            write_report(made / REPORT, lines, problems)
    print('\n'.join(lines))
    for line in problems.lines():
        print(f'problem: {line}')
    print(
        f'written: {out / config}, {out / "summary.png"}; {out / REPORT} has every '
        f'problem with its files\n  train: mnv2 train {out}'
    )


class _Steps:
    """A bar for each step of the work."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __call__(self, text: str, total: int | None = None):
        if not self.progress.console.is_terminal:
            print(f'{text} ...', flush=True)
        task = self.progress.add_task(text, total=total)
        return lambda: self.progress.advance(task)


def _read(files, args: Namespace, problems: Problems, step: _Steps):
    """Read each form that the folder may have; take the one with the most images."""
    names = recognize(files, args.task, args.form)
    found = []
    for name in names:
        own = Problems()
        tick = step(f'reading {FORMS[name]}')
        records, classes = collect(name, files, own, tick, masks=args.task == 'seg')
        labeled = {record.path for record in records if record.labels}
        found.append((len(labeled), name, records, classes, own, labeled))
    found.sort(key=lambda entry: -entry[0])  # stable: of equals the first of FORMS
    _, form, records, classes, own, labeled = found[0]
    for _, name, _, _, _, others in found[1:]:
        if others - labeled:
            raise InputError(
                f'{files.root} mixes forms: {FORMS[form]} labels {len(labeled)} '
                f'images, {FORMS[name]} {len(others - labeled)} others; convert one of '
                f'them, or read one alone with --form {form} or --form {name}'
            )
        what = 'of the same images' if others else 'without labels'
        problems.add(f'{FORMS[name]} {what}; not read', files.forms[name])
    for kind, places in own.found.items():
        problems.add(kind, places)
    if not labeled:
        raise InputError(
            f'{files.root} ({FORMS[form]}) has no label that can be used:\n'
            + '\n'.join(problems.lines())
        )
    return form, records, classes


def _values_of_task(
    task: str,
    records: list[Record],
    classes: list[str],
    values: dict,
    notes: dict[str, str],
    seed: int,
) -> int:
    """Add the values that only one task has; returns the side of the input."""
    small = sum(r.split == 'train' for r in records) < recipe.SMALL_SET
    if task == 'seg':
        side = recipe.segmentation_crop(records)
        palette = [list(color) for color in default_palette(len(classes))]
        values |= {'crop': (side, side), 'palette': palette}
        values |= {'min_scale': 0.75 if small else 0.5}
    elif task == 'cls':
        side = recipe.classification_input(records)
        values |= {'input_size': side, 'min_crop': 0.25 if small else 0.08}
    else:
        side = recipe.detection_input(records)
        values |= {'input_size': (side, side), 'min_crop': 0.5 if small else 0.3}
        _choose_anchors(records, side, values, notes, seed)
    if task != 'det' and values['start'] is None:
        values['backbone_lr'] = 1
    return side


def _choose_anchors(
    records: list[Record], side: int, values: dict, notes: dict[str, str], seed: int
) -> None:
    """Keep the official default boxes unless others reach clearly more objects."""
    from mnv2_mm.analysis.anchor_fit import fit_anchors

    official, best = fit_anchors(records, side, seed=seed)
    better = official.mean < MIN_RECALL and best.mean > official.mean + MIN_GAIN
    chosen, other = (best, official) if better else (official, best)
    values |= {'scales': chosen.scales, 'reduce_lowest': chosen.reduce_lowest}
    low = min(chosen.recall, key=chosen.recall.get)
    text = (
        f'default boxes reach {chosen.mean:.1%} of the objects at IoU 0.5 (mean of the '
        f'classes; least: {low}, {chosen.recall[low]:.1%})'
    )
    if other.scales != chosen.scales:
        name = 'the official' if better else 'k-means'
        text += f'\n{name} reach {other.mean:.1%}:\nscales = {other.scales}'
        text += f'; reduce_lowest = {other.reduce_lowest}'
    notes['scales'] = text


def _start(task: str, given: str | None, made: Path) -> tuple[str, dict]:
    """Put the weights to start from into the folder; their name, and config values."""
    path, text = (Path(given).expanduser(), given) if given else _published(task)
    if path is None:
        return text, {'start': None}
    target = made / 'start.pth'
    if given and _is_foreign(path):
        content = read_weights(path)
        checkpoint, report = convert(content, config_for(content))
        print(f'converted {path.name}: {report.summary()}', flush=True)
        save(checkpoint, target)
    else:
        shutil.copyfile(path, target)
    weights = state_dict_of(read(str(target)), str(path))
    stem = weights.get('backbone.conv1.conv.weight')
    if stem is None or len(stem) != 32:
        raise InputError(
            f'{path} holds no MobileNetV2 of width 1, which the config has; give other '
            'weights, or none'
        )
    values: dict[str, object] = {'start': '{{ fileDirname }}/start.pth'}
    if task == 'det':  # plain SSD has one convolution where SSDLite has two
        values['lite'] = 'bbox_head.cls_convs.0.weight' not in weights
    return text, values


def _is_foreign(path: Path) -> bool:
    """Whether a file has to be converted: it is of another format or code base."""
    if needs_conversion(path):
        return True
    weights = state_dict_of(read(str(path)), str(path))
    return not any(key.startswith('backbone.') for key in weights)


def _published(task: str) -> tuple[Path | None, str]:
    """The best published network that can be had, those in the cache first."""
    models, reasons = published_models(), []
    for names in (*STARTS[task], IMAGENET):
        for name in sorted(names, key=lambda n: not _cached(models[n])):
            try:
                return checkpoint_of(models[name]), name
            except InputError as error:
                reasons.append(str(error).partition('\n')[0])
    print('\n'.join(f'warning: {reason}' for reason in reasons), flush=True)
    return None, 'random weights, since no published ones can be had; see --weights'


def _cached(model) -> bool:
    return (cache_folder() / model.file).is_file()
