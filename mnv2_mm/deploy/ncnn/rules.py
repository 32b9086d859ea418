"""All rules, by importing the modules that register them."""

from mnv2_mm.deploy.ncnn import (  # noqa: F401
    rules_detection,
    rules_elementwise,
    rules_reduction,
    rules_shape,
    rules_weighted,
)
from mnv2_mm.deploy.ncnn.lowering import RULES, lower

__all__ = ['RULES', 'lower']
