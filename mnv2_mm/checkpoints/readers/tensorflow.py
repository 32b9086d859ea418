"""Read the variables of TensorFlow 1: checkpoints and frozen graphs.

Names and layouts stay those of TF-slim (``MobilenetV2/Conv/weights``; H, W, in, out).
TensorFlow reads checkpoints and is imported only then; graphs need protobuf alone.
Sizes are compared with the file before anything of that size is allocated.
"""

import math
import os
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from mnv2_mm.checkpoints.file import first_line
from mnv2_mm.checkpoints.readers.archive import graph_in, is_archive
from mnv2_mm.checkpoints.readers.graph_messages import graph_def, sides_of, values_of
from mnv2_mm.checkpoints.readers.tensorflow_graph import graph_variables
from mnv2_mm.checkpoints.source import Source, sha256_of
from mnv2_mm.utils.compat import required
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import user_path

#: Suffix of the moving average of a variable. It is what is evaluated and released, so
#: it replaces the variable.
AVERAGE = '/ExponentialMovingAverage'

#: A checkpoint is several files with the same beginning.
_PARTS = re.compile(r'(.+)\.(?:index|meta|data-\d{5}-of-\d{5})')
_SLOT = re.compile(
    r'.+/(?:RMSProp|Momentum|Adam|Adagrad|Adadelta|Ftrl|GradientDescent)(?:_\d+)?'
)
_OF_TRAINING = re.compile(
    r'(?:.*/)?(?:global_step|local_step|biased|beta\d_power|learning_rate|'
    r'save_counter|loss_scale|good_steps)'
)
_AGAIN = 'download or copy it again'
#: Values that a small graph may hold as one number and a shape.
_REPEATED = 1 << 20

#: Arrays of the network by name; the other names and why.
_Values = tuple[dict[str, np.ndarray], dict[str, str]]


def is_tensorflow(path: str | os.PathLike) -> bool:
    """Whether a path is a frozen graph, an archive with one, or of a checkpoint.

    A checkpoint may be given by its folder, one of its files or their prefix.
    """
    path = user_path(path)
    if path.is_dir():
        return any(path.glob('*.index'))
    if is_archive(path):
        return True
    is_part = path.suffix == '.pb' or _PARTS.fullmatch(path.name)
    return bool(is_part and path.is_file()) or _index(path).is_file()


def read_tensorflow(path: str | os.PathLike) -> Source:
    """Read the variables of a checkpoint or a frozen graph as float32.

    Returns:
        Variables by name; moving averages in place of what they average. The digest is
        that of the data files in a row.
    """
    path = user_path(path)
    is_graph = path.suffix == '.pb' or is_archive(path)
    if is_graph and path.name == 'saved_model.pb':
        raise InputError(
            f'{path} has the graph of a SavedModel without its values; give the '
            f'checkpoint next to it, {path.parent}/variables'
        )
    path, files = (path, [path]) if is_graph else _checkpoint_files(path)
    try:
        if is_graph:
            values, set_aside = _read_graph(path)
        else:
            values, set_aside = _read_checkpoint(path, files)
        tensors = {
            name: torch.from_numpy(np.array(value, np.float32))
            for name, value in values.items()
        }
    except InputError:
        raise
    except Exception as error:  # of TensorFlow or protobuf, of damaged values
        raise InputError(
            f'{path} is damaged or not of TensorFlow ({first_line(error)}); {_AGAIN}'
        ) from error
    kind = 'TensorFlow frozen graph' if is_graph else 'TensorFlow checkpoint'
    return Source(str(path), kind, sha256_of(*files), tensors, set_aside)


def _index(prefix: Path) -> Path:
    return prefix.with_name(f'{prefix.name}.index')


def _prefix(path: Path) -> Path:
    """The beginning of the names of a checkpoint's files."""
    if not path.is_dir():
        match = _PARTS.fullmatch(path.name)
        return path.with_name(match[1]) if match else path
    found = sorted(file.stem for file in path.glob('*.index'))
    state = path / 'checkpoint'
    if len(found) > 1 and state.is_file():
        text = state.read_text(errors='replace')
        latest = re.search(r'model_checkpoint_path: "(.+)"', text)
        # folders get moved: only the name counts
        name = latest and Path(latest[1]).name
        found = [name] if name in found else found
    if len(found) != 1:
        shown = ', '.join(found) or 'no .index file'
        raise InputError(
            f'{path} should hold one checkpoint of TensorFlow, it holds {shown}; give '
            f'the one to read, such as {path}/model.ckpt'
        )
    return path / found[0]


def _checkpoint_files(path: Path) -> tuple[Path, list[Path]]:
    """The beginning of the names of a checkpoint, and its data files."""
    prefix = _prefix(path)
    shards = sorted(prefix.parent.glob('*.data-?????-of-?????'))
    shards = [s for s in shards if s.name.startswith(f'{prefix.name}.data-')]
    if not _index(prefix).is_file() or not shards:
        missing = _index(prefix).name if shards else f'{prefix.name}.data-...'
        raise InputError(
            f'{prefix} is not a complete checkpoint of TensorFlow: {missing} is '
            'missing; put .index and .data-* into one folder'
        )
    return prefix, shards


def _read_checkpoint(prefix: Path, shards: list[Path]) -> _Values:
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # no start-up messages
    tf = required('tensorflow', f'reading {prefix}')
    reader = tf.train.load_checkpoint(str(prefix))
    shapes = reader.get_variable_to_shape_map()
    kinds = reader.get_variable_to_dtype_map()
    floats = {name for name in shapes if kinds[name].is_floating}
    stored, set_aside = _sort_out(floats)
    for name in sorted(set(shapes) - floats):
        set_aside[name] = f'{kinds[name].name}, no float'
    _check_kind(set_aside, stored, prefix)
    claimed = sum(math.prod(shapes[key]) * kinds[key].size for key in stored.values())
    if claimed > sum(shard.stat().st_size for shard in shards):
        raise InputError(
            f'{prefix} is damaged: its index claims {claimed} bytes, more than the '
            f'data files hold; {_AGAIN}'
        )
    values = {name: reader.get_tensor(key) for name, key in stored.items()}
    return values, set_aside


def _read_graph(path: Path) -> _Values:
    data = graph_in(path)
    graph = graph_def().FromString(data)
    protos, set_aside = graph_variables(graph.node, path)
    stored, averaged = _sort_out(protos)
    set_aside.update(averaged)
    _check_kind(set_aside, stored, path)
    claimed = 0
    for key in stored.values():
        sides = sides_of(protos[key])
        if any(side < 0 for side in sides):
            raise ValueError(f'{key} has the shape {sides}')
        claimed += math.prod(sides)
    if claimed > max(len(data), _REPEATED):
        raise InputError(
            f'{path} is damaged: it claims {claimed} weights, more than it has room '
            f'for; {_AGAIN}'
        )
    values = {name: values_of(protos[key]) for name, key in stored.items()}
    return values, set_aside


def _sort_out(names: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Stored name of each variable of the network; the other names and why."""
    stored: dict[str, str] = {}
    set_aside: dict[str, str] = {}
    for name in sorted(names):  # averages after their variables
        variable = name.removesuffix(AVERAGE)
        if variable != name:
            stored[variable] = name
            if variable in names:
                set_aside[variable] = 'raw value; its moving average is read'
        elif _OF_TRAINING.fullmatch(name):
            set_aside[name] = 'state of the training'
        elif _SLOT.fullmatch(name) or name.rpartition('/')[0] in names:
            set_aside[name] = 'slot of the optimizer'
        else:
            stored[name] = name
    return stored, set_aside


def _check_kind(set_aside: dict[str, str], stored: dict[str, str], path: Path) -> None:
    if any('.ATTRIBUTES/' in name for name in [*stored, *set_aside]):
        raise InputError(
            f'{path} is a checkpoint of TensorFlow 2 (Keras); known are the names of '
            'TF-slim, as tf.compat.v1.train.Saver writes them'
        )
    if not stored:
        raise InputError(
            f'{path} holds no variables with floating-point values; give a frozen '
            'graph or a checkpoint of a trained network'
        )
