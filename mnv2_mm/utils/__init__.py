"""Config files, errors, the console and the environment."""

__all__ = ['register_all_modules']


def register_all_modules(init_default_scope: bool = True) -> None:
    """Do nothing: mmengine.hub.get_model calls this function of every package.

    The registries of :mod:`mnv2_mm.registry` import their modules by themselves, and
    the config of a model names its scope.
    """
