"""MobileNetV2, SSDLite and Mobile DeepLabv3 for OpenMMLab.

    import mnv2_mm
    model = mnv2_mm.load('deeplabv3_mnv2_voc')
    for result in model.predict('photos/'):
        result.save('out/')

Importing the package is fast: it imports neither torch nor mmengine, registers
nothing and patches nothing. A config entry such as ``type='mnv2_mm.MobileNetV2'``
imports :mod:`mnv2_mm.registry` by itself.
"""

from typing import TYPE_CHECKING

from mnv2_mm.version import __version__

if TYPE_CHECKING:
    from mnv2_mm.api import inferencer, init_model, list_models, load, predict

__all__ = ['__version__', 'inferencer', 'init_model', 'list_models', 'load', 'predict']


def __getattr__(name: str) -> object:
    """Import the functions of :mod:`mnv2_mm.api` when they are used."""
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from mnv2_mm import api

    return getattr(api, name)
