"""Shared fixtures; the package comes first, it mends torchvision."""

import mnv2_mm  # noqa: F401
