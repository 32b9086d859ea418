"""Child registries of mmengine's, with the scope ``mnv2_mm``.

A config entry ``type='mnv2_mm.X'`` makes mmengine import this module and,
on the first look-up, the ``locations`` below: no ``custom_imports`` needed.
Only registries that hold something are here, and nothing is registered in
mmengine's root.
"""

from mmengine.registry import DATASETS as _DATASETS
from mmengine.registry import HOOKS as _HOOKS
from mmengine.registry import MODELS as _MODELS
from mmengine.registry import OPTIM_WRAPPERS as _OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS as _OPTIMIZERS
from mmengine.registry import TASK_UTILS as _TASK_UTILS
from mmengine.registry import TRANSFORMS as _TRANSFORMS
from mmengine.registry import VISUALIZERS as _VISUALIZERS
from mmengine.registry import WEIGHT_INITIALIZERS as _WEIGHT_INITIALIZERS
from mmengine.registry import Registry

from mnv2_mm.utils.compat import allow_checkpoints

#: Backbones, necks, heads; averages of a model.
MODELS = Registry(
    'model',
    parent=_MODELS,
    scope='mnv2_mm',
    locations=['mnv2_mm.models', 'mnv2_mm.engine'],
)
#: Anchor generators.
TASK_UTILS = Registry(
    'task util', parent=_TASK_UTILS, scope='mnv2_mm', locations=['mnv2_mm.models']
)
#: Data sets.
DATASETS = Registry(
    'dataset', parent=_DATASETS, scope='mnv2_mm', locations=['mnv2_mm.datasets']
)
#: Data transforms.
TRANSFORMS = Registry(
    'transform', parent=_TRANSFORMS, scope='mnv2_mm', locations=['mnv2_mm.datasets']
)
#: Training hooks.
HOOKS = Registry(
    'hook',
    parent=_HOOKS,
    scope='mnv2_mm',
    locations=['mnv2_mm.engine', 'mnv2_mm.checkpoints'],
)
#: Optimizers.
OPTIMIZERS = Registry(
    'optimizer', parent=_OPTIMIZERS, scope='mnv2_mm', locations=['mnv2_mm.engine']
)
#: Optimizers with their precision.
OPTIM_WRAPPERS = Registry(
    'optim_wrapper',
    parent=_OPTIM_WRAPPERS,
    scope='mnv2_mm',
    locations=['mnv2_mm.engine'],
)
#: What draws results.
VISUALIZERS = Registry(
    'visualizer', parent=_VISUALIZERS, scope='mnv2_mm', locations=['mnv2_mm.engine']
)
#: Ways to fill a module with its first weights.
WEIGHT_INITIALIZERS = Registry(
    'weight initializer',
    parent=_WEIGHT_INITIALIZERS,
    scope='mnv2_mm',
    locations=['mnv2_mm.checkpoints'],
)

# A config that names a type of ours brings checkpoints of mmengine along, also
# into the hosts' own tools. This adds to torch's list of safe classes.
allow_checkpoints()
