"""Look at the data of a config before a run is built.

The hosts notice bad data late (in the middle of an epoch), with the stack
of a data-loader worker, or never. Here everything that can be seen from
outside is looked at first, and all problems are told at once, each with its
remedy. The files of large sets are looked at in part only: COCO's training
annotations cost little more than their loading.
"""

from collections.abc import Iterator, Mapping, Sequence

from mmengine.config import Config
from mmengine.registry import DATASETS

from mnv2_mm.datasets.checks.classes import check_classification
from mnv2_mm.datasets.checks.coco import check_coco
from mnv2_mm.datasets.checks.masks import check_segmentation
from mnv2_mm.datasets.checks.source import (
    Findings,
    Source,
    exists,
    file_exists,
)
from mnv2_mm.utils.errors import InputError

#: Heads whose classes are not those of the data set.
_OTHER_HEADS = ('rpn_head', 'mask_iou_head')


def check(
    cfg: Config, *, splits: Sequence[str] = ('train', 'val', 'test')
) -> list[str]:
    """Check data sets, classes and input sizes of a config.

    Args:
        cfg: a whole config; its ``data_help`` (how to get the data) is
            shown when they are missing.
        splits: which of train, val and test the run uses.

    Returns:
        Warnings: what the run will do that its user may not expect.

    Raises:
        InputError: something keeps the run from working; the message lists
            all that was found, with remedies.
    """
    findings = Findings()
    done, missing_roots = [], set()
    for source in _sources(cfg, splits):
        _check_names(source, findings)
        _check_loader(source, findings)
        _check_heads(cfg, source, findings)
        _check_input_size(cfg, source, findings)
        content = _without(source.cfg, 'pipeline')
        if source.is_remote or content in done:
            continue
        done.append(content)
        if source.root in missing_roots:
            continue
        if not exists(source, findings):
            missing_roots.add(source.root)
            continue
        if source.has_ancestor('CocoDataset'):
            check_coco(source, findings)
            _check_evaluator(cfg, source, findings)
        elif source.has_ancestor('BaseSegDataset'):
            check_segmentation(source, findings)
        elif source.has_ancestor('CustomDataset'):
            check_classification(source, findings)
    if len(findings.errors) == 1:
        raise InputError(findings.errors[0])
    if findings.errors:
        lines = [f'{i}. {text}' for i, text in enumerate(findings.errors, 1)]
        raise InputError(f'{len(lines)} problems with the data:\n' + '\n'.join(lines))
    return findings.warnings


def _sources(cfg: Config, splits: Sequence[str]) -> Iterator[Source]:
    """The data sets of a config, those inside of wrappers too."""
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if not loader or not loader.get('dataset'):
            continue
        queue = [(f'{split}_dataloader.dataset', loader['dataset'])]
        while queue:
            key, entry = queue.pop(0)
            if isinstance(entry.get('dataset'), Mapping):
                queue.append((f'{key}.dataset', entry['dataset']))
                continue
            if entry.get('datasets'):
                queue += [
                    (f'{key}.datasets[{i}]', inner)
                    for i, inner in enumerate(entry['datasets'])
                ]
                continue
            cls = _class_of(entry.get('type'), cfg)
            if cls is not None:  # else building will say what is wrong
                text = str(cfg.get('data_help') or '').strip()
                yield Source(split, key, entry, cls, text)


def _class_of(name: object, cfg: Config) -> type | None:
    """The class of a data set in the scope of the config."""
    if isinstance(name, type):
        return name
    scope = cfg.get('default_scope') or 'mmengine'
    with DATASETS.switch_scope_and_registry(scope) as registry:
        return registry.get(name) if isinstance(name, str) else None


def _check_names(source: Source, findings: Findings) -> None:
    """Report the missing comma of ``classes=('cat')``, and repetitions."""
    given = source.own_classes
    key = f'{source.key}.metainfo.classes'
    if isinstance(given, str) and source.classes == tuple(given):
        findings.error(
            f'{key} is the text {given!r}, not a tuple of names. One class '
            f'needs a comma: classes=({given!r},).'
        )
    elif given is not None and not isinstance(given, str):
        twice = sorted({n for n in given if list(given).count(n) > 1})
        if twice:
            findings.error(f'{key} names {", ".join(twice)} more than once.')


def _check_loader(source: Source, findings: Findings) -> None:
    """Warn when the hosts' inferencers would not know the test pipeline."""
    if source.split != 'test' or not source.pipeline:
        return
    kinds = [str(t['type']) for t in source.pipeline]
    if 'LoadImageFromFile' not in kinds and 'mnv2_mm.LoadImage' in kinds:
        findings.warn(
            f'{source.key}.pipeline begins with mnv2_mm.LoadImage, which the '
            "hosts' inferencers do not know; use LoadImageFromFile there."
        )


def _check_heads(cfg: Config, source: Source, findings: Findings) -> None:
    """Compare the class count with that of every head of the model."""
    classes = source.classes
    if classes is None or isinstance(source.own_classes, str):
        return
    model = {'model': cfg.get('model') or {}}
    if cfg.get('data_preprocessor'):
        model['data_preprocessor'] = cfg['data_preprocessor']
    counts = list(_class_counts(model, ''))
    for transform in source.pipeline:
        if str(transform['type']).endswith('CheckSegMask'):
            where = f'num_classes of CheckSegMask in {source.key}.pipeline'
            counts.append((where, transform.get('num_classes')))
    # masks may be binary: one channel for two classes is mmseg's own affair
    for key, count in counts:
        if isinstance(count, int) and count != len(classes):
            findings.error(
                f'{key} is {count}, but the data set has {len(classes)} '
                f'classes ({source.key}.metainfo.classes: '
                f'{_shortened(classes)}). Set it to {len(classes)}, or '
                'correct the classes.'
            )


def _class_counts(node: object, key: str) -> Iterator[tuple[str, int]]:
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


def _check_input_size(cfg: Config, source: Source, findings: Findings) -> None:
    """Compare the pipeline's Resize with the anchors' input size.

    Both are an int or (width, height) in pixels.
    """
    head = (cfg.get('model') or {}).get('bbox_head')
    anchors = head.get('anchor_generator') if isinstance(head, Mapping) else {}
    size = (anchors or {}).get('input_size')
    resizes = [
        t
        for t in source.pipeline
        if str(t['type']).split('.')[-1] == 'Resize' and t.get('scale')
    ]
    if size is None or not resizes:
        return
    wanted, scale = _pair(size), _pair(resizes[-1]['scale'])
    where = f'{source.key}.pipeline'
    if wanted != scale:
        findings.error(
            f'Resize in {where} makes images of {scale[0]}x{scale[1]}, but '
            'model.bbox_head.anchor_generator.input_size is '
            f'{wanted[0]}x{wanted[1]} (width x height). Use one input_size '
            'for both.'
        )
    elif resizes[-1].get('keep_ratio'):
        findings.error(
            f'Resize in {where} has keep_ratio=True, so images come in '
            f'other sizes than the {wanted[0]}x{wanted[1]} of model.bbox_head.'
            'anchor_generator.input_size. Set keep_ratio=False.'
        )


def _check_evaluator(cfg: Config, source: Source, findings: Findings) -> None:
    """Compare the evaluator's annotation file with the data set's."""
    evaluators = cfg.get(f'{source.split}_evaluator') or []
    if isinstance(evaluators, Mapping):
        evaluators = [evaluators]
    for evaluator in evaluators if source.split != 'train' else ():
        name = evaluator.get('ann_file')
        if not name or '://' in name:
            continue
        setting = f'{source.split}_evaluator.ann_file'
        path = type(source.annotations)(name)
        if not file_exists(path, setting, source, findings):
            continue
        if source.annotations and not path.samefile(source.annotations):
            findings.error(
                f'{setting} is {path}, but {source.key} reads '
                f'{source.annotations}. Both must be the same file.'
            )


def _pair(size: object) -> tuple[int, int]:
    """(width, height) of an int or a pair."""
    return (size, size) if isinstance(size, int) else tuple(size)


def _shortened(names: Sequence[str]) -> str:
    return ', '.join(names[:6]) + (', …' if len(names) > 6 else '')


def _without(entry: Mapping, key: str) -> dict:
    return {k: v for k, v in entry.items() if k != key}
