"""MobileNetV2, SSDLite and Mobile DeepLabv3 for OpenMMLab.

Importing the package needs nothing but Python: it mends what a torch
installation lacks (see :mod:`mnv2_mm.utils.compat`) and registers nothing. The
modules are registered by :mod:`mnv2_mm.registry`, which a config entry such
as ``type='mnv2_mm.MobileNetV2'`` imports by itself.
"""

from mnv2_mm.utils import compat
from mnv2_mm.version import __version__

compat.apply()

__all__ = ['__version__']
