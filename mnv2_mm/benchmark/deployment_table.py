"""Table of the backends: size, accuracy, agreement with PyTorch and times.

``tools/deployment_table.py`` writes it into a JSON file, a row after the other, so that
an interrupted run goes on where it stopped, and as Markdown.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.registry import DATASETS, init_default_scope

from mnv2_mm.analysis.markdown import table_line
from mnv2_mm.api import init_model, predict
from mnv2_mm.benchmark.core import environment
from mnv2_mm.benchmark.exported_models import pytorch_row
from mnv2_mm.checkpoints.file import check_file
from mnv2_mm.checkpoints.loading import safe_loading
from mnv2_mm.datasets.checks.source import evenly
from mnv2_mm.deploy.compare import largest_difference, plain
from mnv2_mm.deploy.evaluate import Evaluation
from mnv2_mm.deploy.export import Exporter
from mnv2_mm.engine.launch import build_runner
from mnv2_mm.runtime import timing
from mnv2_mm.runtime.description import find, read_info
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.runtime.read_image import read_image
from mnv2_mm.utils.config import (
    apply_options,
    config_name,
    evaluation_dataset,
    get_config,
)
from mnv2_mm.utils.config_errors import host_of
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import staging

PYTORCH = 'PyTorch fp32'
#: Backends and their precisions, in the order of the rows.
BACKENDS = {
    'onnxruntime': ('fp32', 'int8'),
    'ncnn': ('fp32', 'fp16', 'int8'),
    'litert': ('fp32', 'fp16', 'int8'),
    'openvino': ('fp32', 'int8'),
}
#: Task, metric of the host, and its name in the table, by the host.
_TASKS = {
    'mmdet': ('det', 'coco/bbox_mAP', 'mAP'),
    'mmseg': ('seg', 'mIoU', 'mIoU'),
    'mmpretrain': ('cls', 'accuracy/top1', 'top-1'),
}
_PHOTOS, _THREADS = 10, (1, 2)


class Table:
    """The rows of one task.

    Args:
        content: Of the JSON file, by task; changed in place.
        config: Config of the network, path or name.
        checkpoint: Its weights.
        work_dir: Folder of the exported models, each in a folder of its own.
        options: Override keys of the deploy configs.

    Raises:
        InputError: the rows are of another network.
    """

    def __init__(
        self,
        content: dict,
        config: str,
        checkpoint: str,
        *,
        work_dir: Path,
        options: Sequence[str] | None,
    ) -> None:
        self.cfg = get_config(config)
        self.checkpoint, self.options = checkpoint, options
        self.task, self._metric, score = _TASKS[host_of(self.cfg)]
        check_file(checkpoint)
        data = self.cfg.text.encode() + Path(checkpoint).read_bytes()
        network = hashlib.sha256(data).hexdigest()
        # of another network there may be exported models too
        self.work_dir = work_dir / f'{self.task}_{network[:8]}'
        self.entry = content.setdefault(self.task, {'rows': {}})
        own = {'config': config_name(self.cfg), 'network': network}
        # of the first tables the config alone is known
        if any(self.entry.get(key, value) != value for key, value in own.items()):
            raise InputError(
                f'the table has rows of another config or checkpoint for {self.task}; '
                'give another --work-dir, or with --docs remove its entry from the '
                'JSON file'
            )
        self.entry |= own | {'score': score}
        init_default_scope(self.cfg.default_scope)
        dataset = DATASETS.build(evaluation_dataset(self.cfg))
        self.entry['images'] = len(dataset)
        indices = evenly(range(len(dataset)), _PHOTOS)
        self._paths = [dataset.get_data_info(i)['img_path'] for i in indices]

    def measure(self, save: Callable[[], object], say: Callable[[str], object]) -> None:
        """Export and evaluate what has no row yet, PyTorch first."""
        rows, photos = self.entry['rows'], [*map(read_image, self._paths)]
        model = init_model(self.cfg, self.checkpoint)
        wanted = [plain(predict(model, photo)) for photo in photos]
        for name in [PYTORCH, *_names()]:
            if name in rows:
                continue
            say(f'{self.task}: {name}')
            try:
                if name == PYTORCH:
                    size = sum(x.nbytes for x in model.state_dict().values())
                    found, make, cfg = wanted, build_runner, self.cfg.copy()
                    cfg.load_from = self.checkpoint
                else:
                    folder = self._exported(name)
                    exported = ExportedModel(folder)
                    evaluation = Evaluation(folder, self.cfg)
                    size = timing.size_of(read_info(folder)[1])
                    found = [exported(photo) for photo in photos]
                    make, cfg = evaluation.runner, evaluation.cfg
                cfg.work_dir = str(self.work_dir / 'logs')
                with safe_loading():
                    accuracy = float(make(cfg).test()[self._metric])
            except InputError as error:
                say(f'left out: {error}')
                continue
            difference = largest_difference(wanted, found)
            rows[name] = dict(bytes=size, accuracy=accuracy, difference=difference)
            save()

    def time(self, save: Callable[[], object], say: Callable[[str], object]) -> None:
        """Time all rows on the first photo, from image to result.

        Raises:
            InputError: there is no row yet.
        """
        if not self.entry['rows']:
            raise InputError(
                f'the table has no rows for {self.task} to time; measure them first, '
                'by the same command without --time'
            )
        for name, row in self.entry['rows'].items():
            say(f'{self.task}: timing {name}')
            if name == PYTORCH:
                times = pytorch_row(self.cfg, self.checkpoint, self._paths[0]).times
            else:
                photo = read_image(self._paths[0])
                times = timing.benchmark(self._folder(name), photo, threads=_THREADS)
            totals = {x['threads']: x['total']['median'] for x in times['times']}
            row['milliseconds'] = [round(totals[count], 1) for count in _THREADS]
            self.entry['environment'] = environment(max(_THREADS))
            save()

    def _folder(self, name: str) -> Path:
        return self.work_dir / name.replace(' ', '_')

    def _exported(self, name: str) -> Path:
        """Folder of an exported model; it is exported if it is not there."""
        folder = self._folder(name)
        if find(folder) is None:
            backend, precision = name.split()
            kind = f'{backend}_{precision}_static'.replace('_fp32', '')
            end = '_513' if self.task == 'seg' else ''
            deploy_cfg = get_config(f'{self.task}_{kind}{end}')
            apply_options(deploy_cfg, self.options)
            with staging(folder) as place:
                exporter = Exporter(
                    deploy_cfg, self.cfg, self.checkpoint, self._paths[0]
                )
                exporter.export(place)
        return folder


def _names() -> Iterator[str]:
    """Names of the rows of exported models."""
    for backend, precisions in BACKENDS.items():
        yield from (f'{backend} {precision}' for precision in precisions)


def markdown(content: Mapping) -> str:
    """The table as Markdown, from the content of the JSON file."""
    blocks = []
    for entry in content.values():
        head = ['', 'size, MB', entry['score'], 'largest difference']
        rows = entry['rows'].values()
        threads = _THREADS if any('milliseconds' in row for row in rows) else ()
        head += [f'ms, {count} thread{"s" * (count > 1)}' for count in threads]
        lines = [table_line(head), table_line(['---'] * len(head))]
        # in this order also after a row was measured again
        for name in filter(entry['rows'].get, [PYTORCH, *_names()]):
            row = entry['rows'][name]
            cells = [name, f'{row["bytes"] / 1e6:.2f}', f'{row["accuracy"]:.4g}']
            cells.append('' if name == PYTORCH else row['difference'])
            cells += row.get('milliseconds') or [''] * len(threads)
            lines.append(table_line(cells))
        note = f'`{entry["config"]}`, {entry["images"]} images.'
        if measured := entry.get('environment'):
            note += (
                ' Times: median from image to result, {processor}, '
                'load {load_average[0]:.1f}, torch {torch}, {date}.'
            ).format(**measured)
        blocks.append('\n'.join([*lines, '', note]))
    return '\n\n'.join(blocks) + '\n'
