"""The package registers its modules and imports nothing that is optional."""

import subprocess
import sys

import pytest

from mnv2_mm.registry import HOOKS, WEIGHT_INITIALIZERS


def test_config_entries_find_their_classes() -> None:
    assert HOOKS.get('mnv2_mm.CheckpointGuardHook').__name__ == 'CheckpointGuardHook'
    initializer = WEIGHT_INITIALIZERS.get('mnv2_mm.Pretrained')
    assert initializer.__name__ == 'PretrainedBackbone'


@pytest.mark.slow
def test_readers_import_their_packages_when_they_read() -> None:
    """safetensors may be there already, by the hosts."""
    code = (
        'import sys\n'
        'for host in ("mmdet", "mmseg", "mmpretrain"):\n'
        '    sys.modules[host] = None\n'  # seconds less
        'import mnv2_mm.models; before = set(sys.modules)\n'
        'import mnv2_mm.checkpoints; added = set(sys.modules) - before\n'
        'print(added & {"tflite", "tensorflow", "safetensors", "mnv2_mm.api"})'
    )
    run = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == 'set()'
