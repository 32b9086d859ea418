"""Table of the model zoo, from the metafiles, the configs and measured times.

model-index.yml names the metafiles, which mim and mmengine read too. They hold what
cannot be computed: the address, the digest, the license and the accuracies with their
source. Sizes and multiply-adds are counted here.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmengine.config import Config

from mnv2_mm.analysis.complexity import count_config
from mnv2_mm.analysis.markdown import table_line
from mnv2_mm.checkpoints.hub import listed_models
from mnv2_mm.utils.config import get_config

#: Short names of metrics in the table.
METRICS = {'Top 1 Accuracy': 'top-1', 'Top 5 Accuracy': 'top-5'}
METRICS |= {'box AP': 'mAP', 'box AP50': 'mAP@50'}
HEAD = (
    'network',
    'input',
    'parameters',
    'multiply-adds',
    'quoted',
    'measured here',
    'ms, layer by layer',
    'ms',
    'file',
)


def config_of(entry: Mapping) -> Config:
    """Config of an entry, without weights to download."""
    cfg = get_config(entry['Config'].removeprefix('configs/').removesuffix('.py'))
    cfg.model.backbone.init_cfg = None
    return cfg


def latencies(path: Path) -> dict:
    """Content of the file that `tools/model_zoo.py --time` writes, or an empty one."""
    if not path.is_file():
        return dict(environment=None, milliseconds={})
    return json.loads(path.read_text(encoding='utf-8'))


def markdown(times: Mapping, listed: Iterable[Mapping] | None = None) -> str:
    """The table, one row a network, with notes on where its numbers come from.

    Args:
        times: What :func:`latencies` returns.
        listed: Entries of metafiles; by default all.
    """
    lines = [table_line(HEAD), table_line(['---'] * len(HEAD))]
    notes: list[str] = []
    for entry in listed_models() if listed is None else listed:
        counted = count_config(config_of(entry))
        height, width = counted.sizes[0]
        quoted = _accuracy(entry['Results'], 'Stated by', notes)
        measured = _accuracy(entry['Results'], 'Measured by', notes)
        milliseconds = times['milliseconds'].get(entry['Name'], ['', ''])
        lines.append(
            table_line(
                [
                    f'[`{entry["Name"]}`](../{entry["Config"]})',
                    f'{width}x{height}',
                    f'{counted.num_params() / 1e6:.2f}M',
                    f'{counted.cost() / 1e6:,.0f}M',
                    quoted,
                    measured,
                    *milliseconds,
                    _file(entry),
                ]
            )
        )
    lines += ['', *(f'{number}. {note}' for number, note in enumerate(notes, 1))]
    if environment := times['environment']:
        lines += ['', 'Milliseconds: ' + _conditions(environment)]
    return '\n'.join(lines) + '\n'


def _accuracy(results: Iterable[Mapping], origin: str, notes: list[str]) -> str:
    """Metrics of the results that have this origin, each with the number of a note."""
    cells = []
    for result in results:
        if origin not in result:
            continue
        note = f'{result["Dataset"]}: {result[origin]}'
        if note not in notes:
            notes.append(note)
        metrics = ', '.join(
            f'{METRICS.get(name, name)} {value}'
            for name, value in result['Metrics'].items()
        )
        cells.append(f'{metrics} <sup>{notes.index(note) + 1}</sup>')
    return '; '.join(cells)


def _file(entry: Mapping) -> str:
    """Link to the published file, with its license."""
    if 'Source' not in entry:
        return 'train it'
    return f'[file]({entry["Weights"]}), {entry["Source"]["License"]}'


def _conditions(environment: Mapping) -> str:
    return (
        'processor time from an image to the result as `load` runs it (left of it: '
        'layer by layer, `optimize=False`), float32, random weights, {threads} thread, '
        'median of 15 after 8 runs, {processor}, load {load_average[0]:.1f}, '
        'torch {torch}, onnxruntime {onnxruntime}, {date}; '
        '`OMP_NUM_THREADS=1 python tools/model_zoo.py --time photo.jpg --write`.'
    ).format(**environment)
