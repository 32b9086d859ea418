"""Time this project against its baselines, side by side.

:mod:`~mnv2_mm.benchmark.core` measures cases in turn and
:mod:`~mnv2_mm.benchmark.report` prints and draws them. The other modules each
list the cases of one sub-command of tools/benchmark.py. The table of all
exported models of a config is in :mod:`~mnv2_mm.benchmark.exported_models`.
"""
