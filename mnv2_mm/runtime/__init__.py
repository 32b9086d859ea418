"""Running builds: numpy, OpenCV and the backend, no torch, no OpenMMLab.

``mnv2_mm`` itself requires nothing, so ``pip install mnv2_mm`` on a device is
all that a build needs besides these three.
"""

from mnv2_mm.runtime.drawing import draw
from mnv2_mm.runtime.model import Build

__all__ = ['Build', 'draw']
