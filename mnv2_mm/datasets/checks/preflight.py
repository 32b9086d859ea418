"""Check the data of a config before a run starts.

The hosts notice bad data late, with the traceback of a data-loader worker, or
never. Here all problems that the files show are reported at once, each with its
remedy. Of large sets only a part of the files is opened: the check of COCO's
training annotations costs little more than loading them.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS

from mnv2_mm.datasets.checks.classes import check_classification
from mnv2_mm.datasets.checks.coco import check_coco
from mnv2_mm.datasets.checks.masks import check_segmentation
from mnv2_mm.datasets.checks.source import Source, StopChecks
from mnv2_mm.utils.errors import InputError

#: Heads whose classes are not those of the data set.
_OTHER_HEADS = ('rpn_head', 'mask_iou_head')
_CONTENT_CHECKS = {
    'CocoDataset': check_coco,
    'BaseSegDataset': check_segmentation,
    'CustomDataset': check_classification,
}


def check(
    cfg: Config, *, splits: Sequence[str] = ('train', 'val', 'test')
) -> list[str]:
    """Check data sets, classes and input sizes of a config.

    Args:
        cfg: Its ``data_help`` says how to get the data.
        splits: Which of train, val and test the run uses.

    Returns:
        Warnings: what the run will do that its user may not expect.

    Raises:
        InputError: The run cannot work; it lists all problems and remedies.
    """
    findings: dict[str, bool] = {}
    done, missing_roots = [], set()
    for source in _sources(cfg, splits, findings):
        for message in (*_class_errors(cfg, source), *_size_errors(cfg, source)):
            source.error(message)
        own_loader = source.loader.get('type') == 'mnv2_mm.LoadImage'
        if source.split == 'test' and own_loader:
            source.warn(
                f'{source.key}.pipeline begins with mnv2_mm.LoadImage, which the '
                "hosts' inferencers do not know; use LoadImageFromFile there."
            )
        content = {k: v for k, v in source.cfg.items() if k != 'pipeline'}
        remote = '://' in f'{source.root} {source.cfg.get("ann_file")}'
        if remote or content in done or source.root in missing_roots:
            continue
        done.append(content)
        if source.root and not Path(source.root).is_dir():
            missing_roots.add(source.root)
            source.error(
                f'The data folder {source.root} is missing '
                f'({source.key}.data_root). {source.remedy}'
            )
            continue
        for name in _CONTENT_CHECKS.keys() & source.ancestors:
            with contextlib.suppress(StopChecks):
                _CONTENT_CHECKS[name](source)
    errors = [text for text, is_error in findings.items() if is_error]
    if len(errors) == 1:
        raise InputError(*errors)
    if errors:
        lines = [f'{i}. {text}' for i, text in enumerate(errors, 1)]
        raise InputError(f'{len(lines)} problems with the data:\n' + '\n'.join(lines))
    return list(findings)


def _sources(
    cfg: Config, splits: Sequence[str], findings: dict[str, bool]
) -> Iterator[Source]:
    """The data sets of a config whose class is known, also inside wrappers."""
    text = str(cfg.get('data_help') or '').strip()
    scope = cfg.get('default_scope') or 'mmengine'
    for split in splits:
        entry = (cfg.get(f'{split}_dataloader') or {}).get('dataset') or {}
        given = cfg.get(f'{split}_evaluator') or []
        given = [given] if isinstance(given, Mapping) else given
        for key, part in _leaves(f'{split}_dataloader.dataset', entry):
            with DATASETS.switch_scope_and_registry(scope) as registry:
                cls = part.get('type')
                cls = registry.get(cls) if isinstance(cls, str) else cls
            if cls:  # an unknown class is reported when it is built
                with contextlib.suppress(StopChecks):
                    yield Source(split, key, part, cls, text, findings, given)


def _leaves(key: str, entry: Mapping) -> Iterator[tuple[str, Mapping]]:
    """(config key, entry) of each data set in ``entry`` that is no wrapper."""
    if isinstance(entry.get('dataset'), Mapping):
        yield from _leaves(f'{key}.dataset', entry['dataset'])
    elif entry.get('datasets'):
        for i, part in enumerate(entry['datasets']):
            yield from _leaves(f'{key}.datasets[{i}]', part)
    else:
        yield key, entry


def _class_errors(cfg: Config, source: Source) -> Iterator[str]:
    """Errors of the class names, and of the class counts of the heads."""
    given, classes = source.own_classes, source.classes
    key = f'{source.key}.metainfo.classes'
    if isinstance(given, str):
        if classes == tuple(given):
            yield (
                f'{key} is the text {given!r}, not a tuple of names. One class '
                f'needs a comma: classes=({given!r},).'
            )
        return
    twice = sorted({name for name in given or () if list(given).count(name) > 1})
    if twice:
        yield f'{key} names {", ".join(twice)} more than once.'
    if classes is None:
        return
    model = {name: cfg.get(name) or {} for name in ('model', 'data_preprocessor')}
    counts = list(_class_counts(model, ''))
    counts += [
        (f'num_classes of CheckSegMask in {source.key}.pipeline', t.get('num_classes'))
        for t in source.pipeline
        if str(t['type']).endswith('CheckSegMask')
    ]
    # mmseg itself handles binary masks: one channel for two classes
    for where, count in counts:
        if isinstance(count, int) and count != len(classes):
            shown = ', '.join(classes[:6]) + (', …' if len(classes) > 6 else '')
            yield (
                f'{where} is {count}, but the data set has {len(classes)} classes '
                f'({key}: {shown}). Set it to {len(classes)}, or correct the classes.'
            )


def _class_counts(
    node: Mapping | Sequence | str | float | None, key: str
) -> Iterator[tuple[str, int]]:
    """(config key, num_classes) of each head below ``node``."""
    if isinstance(node, Mapping):
        where = key.lower()
        is_head = 'head' in where or where.endswith('data_preprocessor')
        if is_head and 'num_classes' in node:
            yield f'{key}.num_classes', node['num_classes']
        for name, child in node.items():
            if name not in _OTHER_HEADS:
                yield from _class_counts(child, f'{key}.{name}'.lstrip('.'))
    elif isinstance(node, list | tuple):
        for i, child in enumerate(node):
            yield from _class_counts(child, f'{key}[{i}]')


def _size_errors(cfg: Config, source: Source) -> Iterator[str]:
    """Compare the pipeline's Resize with the anchors' input size."""
    head = (cfg.get('model') or {}).get('bbox_head')
    anchors = head.get('anchor_generator') if isinstance(head, Mapping) else {}
    size = (anchors or {}).get('input_size')
    kinds = [(str(t['type']).split('.')[-1], t) for t in source.pipeline]
    resizes = [t for kind, t in kinds if kind == 'Resize' and t.get('scale')]
    if size is None or not resizes:
        return
    wanted, scale = (  # (width, height)
        (side, side) if isinstance(side, int) else tuple(side)
        for side in (size, resizes[-1]['scale'])
    )
    ratio = resizes[-1].get('keep_ratio')
    if wanted != scale or ratio:
        yield (
            f'Resize in {source.key}.pipeline makes images of {scale[0]}x{scale[1]}'
            f'{" or smaller (keep_ratio=True)" if ratio else ""}, but '
            f'model.bbox_head.anchor_generator.input_size is {wanted[0]}x{wanted[1]} '
            '(width x height). Use one input_size for both, and keep_ratio=False.'
        )
