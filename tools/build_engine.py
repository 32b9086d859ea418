"""Make the TensorRT engine of a build, on the machine with the GPU.

    python tools/build_engine.py work_dirs/build

A build carries the same as its own `build_engine.py`, so that a machine
without this repository needs nothing but the folder, Python, numpy and
TensorRT; see mnv2_mm/runtime/tensorrt_engine.py.
"""

import importlib.util
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mnv2_mm

# by its path, as importing mnv2_mm.runtime asks for OpenCV
spec = importlib.util.spec_from_file_location(
    'tensorrt_engine',
    Path(mnv2_mm.__file__).with_name('builds') / 'tensorrt_engine.py',
)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)


def main() -> None:
    """Make, run, compare, time; see the module."""
    sys.exit(module.main())


if __name__ == '__main__':
    main()
