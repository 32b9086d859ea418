"""Trained weights of other code bases, fitted to this backbone."""

from mnv2_mm.checkpoints.backbone import Report, load_backbone
from mnv2_mm.checkpoints.guard import CheckpointGuardHook
from mnv2_mm.checkpoints.key_maps.backbones import (
    KEY_MAPS,
    KeyMap,
    key_map_of,
)

__all__ = [
    'KEY_MAPS',
    'CheckpointGuardHook',
    'KeyMap',
    'Report',
    'key_map_of',
    'load_backbone',
]
