"""Without a host the package imports, and its modules say what is missing."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys

for host in ('mmdet', 'mmseg', 'mmpretrain'):
    sys.modules[host] = None
import mnv2_mm.models
from mnv2_mm.registry import MODELS

print(MODELS.build(dict(type='mnv2_mm.MobileNetV2')).out_channels)
for name in ('SSDLiteHead', 'LiteASPPHead', 'DropoutClsHead'):
    try:
        MODELS.build(dict(type=f'mnv2_mm.{name}', num_classes=3))
    except ValueError as error:
        print(error)
"""


def test_each_module_of_a_missing_host_names_it() -> None:
    root = Path(__file__).resolve().parents[2]
    paths = [str(root), *filter(None, [os.environ.get('PYTHONPATH')])]
    result = subprocess.run(
        [sys.executable, '-c', SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {'PYTHONPATH': os.pathsep.join(paths)},
    )
    channels, *messages = result.stdout.strip().splitlines()
    assert channels == '(1280,)'
    for text, name, host in zip(
        messages,
        ('SSDLiteHead', 'LiteASPPHead', 'DropoutClsHead'),
        ('mmdet', 'mmseg', 'mmpretrain'),
        strict=True,
    ):
        assert f'mnv2_mm.{name} needs {host}' in text
        assert 'python -m mnv2_mm.check' in text
