"""What the runtime imports: numpy, OpenCV for drawing, the rest when it is used."""

import subprocess
import sys

import pytest

HEAVY = ['torch', 'mmengine', 'mmcv', 'onnx', 'onnxruntime', 'ncnn', 'tensorrt', 'cv2']
HEAVY += ['openvino', 'ai_edge_litert']


@pytest.mark.parametrize(
    'module',
    [
        'model',
        'timing',
        'onnxruntime',
        'ncnn',
        'tensorrt',
        'litert',
        'drawing',
        'web.page',
    ],
)
def test_importing_the_runtime_loads_little(module):
    code = (
        f'import sys, mnv2_mm.runtime.{module}\n'
        f'print([m for m in {HEAVY} if m in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ('[]' if module != 'drawing' else "['cv2']")
