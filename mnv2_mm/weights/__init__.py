"""Trained weights of other code bases, fitted to this backbone."""

from mnv2_mm.weights.backbone import Report, load_backbone
from mnv2_mm.weights.names import FLAVOURS, Flavour, flavour_of

__all__ = ['FLAVOURS', 'Flavour', 'Report', 'flavour_of', 'load_backbone']
