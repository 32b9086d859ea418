"""Checkpoints: read, check, convert and load trained weights.

``file`` reads every checkpoint, ``validate`` and ``guard`` check it before a model
loads it, ``backbone`` serves ``init_cfg=dict(type='Pretrained')``, ``convert`` turns
files of other code bases into checkpoints (``readers``, ``key_maps``, ``assign``),
``hub`` has the published networks by name, ``resume`` finds the newest checkpoint, and
``report`` says what became of every tensor.

Importing this package registers the hook and the weight initializer.
"""

from mnv2_mm.checkpoints.backbone import PretrainedBackbone, load_backbone
from mnv2_mm.checkpoints.guard import CheckpointGuardHook
from mnv2_mm.checkpoints.report import WeightReport

__all__ = ['CheckpointGuardHook', 'PretrainedBackbone', 'WeightReport', 'load_backbone']
