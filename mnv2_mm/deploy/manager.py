"""What the backend managers here have in common."""

from typing import ClassVar

from mnv2_mm.utils import compat


class InstalledManager:
    """Part of a manager whose backend comes as one distribution.

    mmdeploy's ask for libraries of their own operators, which the graphs
    here do without.
    """

    #: Name of the distribution that a build cannot be made without.
    needs: ClassVar[str]

    @classmethod
    def is_available(cls, with_custom_ops: bool = False) -> bool:
        """Whether it is installed; own operators there are none."""
        return compat.installed(cls.needs) and not with_custom_ops

    @classmethod
    def get_version(cls) -> str:
        """Its version."""
        return compat.version_of(cls.needs) or 'None'
