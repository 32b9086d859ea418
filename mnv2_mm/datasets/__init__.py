"""Data: the generated sample set, careful loading, checks before a run."""

from mnv2_mm.datasets.transforms import CheckSegMask, LoadImage

__all__ = ['CheckSegMask', 'LoadImage']
