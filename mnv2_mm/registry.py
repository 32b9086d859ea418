"""Child registries of mmengine's, with the scope ``mnv2_mm``.

A config entry ``type='mnv2_mm.X'`` makes mmengine import this module and,
on the first look-up, the locations below: no ``custom_imports`` needed.
Only registries that hold something are here, and nothing is registered in
mmengine's root.
"""

from mmengine import registry as root
from mmengine.registry import Registry

from mnv2_mm.utils.compat import allow_checkpoints


def _child(parent: Registry, *folders: str) -> Registry:
    """A registry of the parent's name, filled by some folders of this package."""
    places = [f'mnv2_mm.{folder}' for folder in folders]
    return Registry(parent.name, parent=parent, scope='mnv2_mm', locations=places)


#: Backbones, necks, heads; averages of a model.
MODELS = _child(root.MODELS, 'models', 'engine')
#: Anchor generators.
TASK_UTILS = _child(root.TASK_UTILS, 'models')
DATASETS = _child(root.DATASETS, 'datasets')
TRANSFORMS = _child(root.TRANSFORMS, 'datasets')
HOOKS = _child(root.HOOKS, 'engine', 'checkpoints')
OPTIMIZERS = _child(root.OPTIMIZERS, 'engine')
#: Optimizers with their precision.
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, 'engine')
VISUALIZERS = _child(root.VISUALIZERS, 'engine')
#: Ways to fill a module with its first weights.
WEIGHT_INITIALIZERS = _child(root.WEIGHT_INITIALIZERS, 'checkpoints')

# A config that names a type of ours brings checkpoints of mmengine along, also
# into the hosts' own tools. This adds to torch's list of safe classes.
allow_checkpoints()
