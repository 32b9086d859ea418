"""Imported by the server of processes before it forks the first one."""

import contextlib
import importlib

from mnv2_mm.utils.console import filter_warnings, suppress_import_output

filter_warnings()
with suppress_import_output():
    for name in ('mnv2_mm.benchmark.core', 'mmdet.apis', 'mmpretrain', 'mmseg.models'):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
