"""Check whether a checkpoint fits a model before it is loaded.

mmengine loads weights non-strictly: a checkpoint of another model leaves the network
at its random start, and only a long list of keys is printed. Here the keys and shapes
are compared first. What must fit depends on the use:

======== ==========================================================================
resume   everything; each difference is an error
test     every tensor of the model; extra tensors in the file are a warning
finetune half of the backbone; the rest is a warning that names what keeps its
         initial value
======== ==========================================================================
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import nn

from mnv2_mm.checkpoints.file import state_dict_of
from mnv2_mm.checkpoints.key_maps.backbones import key_map_of
from mnv2_mm.checkpoints.report import WeightReport
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.modules import unwrap

Use = Literal['resume', 'test', 'finetune']

#: Share of the backbone's tensors that a checkpoint to start from must have.
MIN_BACKBONE_SHARE = 0.5


def check(
    checkpoint: Mapping,
    model: nn.Module,
    *,
    source: str,
    use: Use = 'test',
    classes: Sequence[str] | None = None,
) -> WeightReport:
    """Compare a checkpoint with a model for one of the three uses.

    Args:
        checkpoint: What ``file.read`` or ``torch.load`` returned.
        model: The network that receives the weights.
        source: File name, for the message.
        use: What the weights are for; see the table above.
        classes: Class names of the config, for the message.

    Returns:
        The comparison; a warning is due unless it is ``exact``.

    Raises:
        InputError: the checkpoint does not fit for this use.
    """
    weights = state_dict_of(checkpoint, source)
    own = unwrap(model).state_dict()
    report = WeightReport.compare(weights, own, source=source)
    if report.exact:
        return report
    backbone = 'backbone.' if any(key.startswith('backbone.') for key in own) else ''
    if report.share(backbone) < MIN_BACKBONE_SHARE:
        raise InputError(_foreign(report, backbone, weights))
    if use == 'resume' or (use == 'test' and (report.reshaped or report.missing)):
        raise InputError(_unfit(report, use, checkpoint, classes))
    return report


def _foreign(report: WeightReport, backbone: str, weights: Mapping) -> str:
    """Message for a checkpoint of another network."""
    source = report.source
    part = 'backbone' if backbone else 'model'
    alike = sum(key.startswith(backbone) for key in report.matched)
    text = (
        f'{source} is a checkpoint of another model: {alike} tensors of the {part} '
        f'fit\n{report.differences()}\n'
    )
    if not backbone or any(key.startswith(backbone) for key in weights):
        return text + (
            'Give the checkpoint that belongs to this config, or the config that the '
            'checkpoint was trained with (it lies next to the checkpoint in the '
            'work_dir).'
        )
    key_map = key_map_of(weights)
    if key_map is not None and 'mnv2_mm' not in key_map.name:
        return text + (
            f'Its names are those of {key_map.name}; make a checkpoint of it by: '
            f'python tools/convert_weights.py {source} OUT.pth --config CONFIG'
        )
    return text + (
        'Weights of a backbone alone are given in the config, as '
        "model=dict(backbone=dict(init_cfg=dict(type='Pretrained', "
        f"checkpoint='{source}'))), not as load_from."
    )


def _unfit(
    report: WeightReport, use: Use, checkpoint: Mapping, classes: Sequence[str] | None
) -> str:
    """Message for a checkpoint of the same backbone that must fit completely."""
    text = f'{report.source} does not fit the model:\n{report.differences()}\n'
    trained = ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('classes')
    if trained:
        text += f'It was trained with {len(trained)} classes ({_few(trained)})'
    if trained and classes and len(trained) != len(classes):
        text += (
            f', the config has {len(classes)} ({_few(classes)}): set `classes` of the '
            'config to those of the checkpoint.'
        )
    elif trained:
        text += (
            '. Give the config that it was trained with; it lies next to the '
            'checkpoint in the work_dir.'
        )
    else:
        text += 'Give the config that the checkpoint was trained with.'
    if use == 'resume':
        text += (
            '\nTo start a new training from these weights instead, use --cfg-options '
            f'load_from={report.source} without --resume.'
        )
    return text


def _few(names: Sequence[str]) -> str:
    """At most five names."""
    return ', '.join(map(str, names[:5])) + (', ...' if len(names) > 5 else '')
