"""Checkpoints: read, check, convert and load trained weights.

``file`` reads every checkpoint, ``guard`` checks it before a model loads it, ``saving``
writes those of a training whole, ``resume`` finds the one to continue from,
``backbone`` serves ``init_cfg=dict(type='Pretrained')``, ``convert`` turns files of
other code bases into checkpoints (``readers``, ``key_maps``, ``assign``), and ``hub``
has the published networks by name.
"""

from mnv2_mm.checkpoints.backbone import PretrainedBackbone, load_backbone
from mnv2_mm.checkpoints.guard import CheckpointGuardHook
from mnv2_mm.checkpoints.report import WeightReport
from mnv2_mm.checkpoints.saving import AtomicCheckpointHook

__all__ = [
    'AtomicCheckpointHook',
    'CheckpointGuardHook',
    'PretrainedBackbone',
    'WeightReport',
    'load_backbone',
]
