"""Build the TensorRT engine of an exported model, on the machine with the GPU.

    python tools/build_engine.py work_dirs/exported
    python tools/build_engine.py work_dirs/exported --rtx    # without a GPU

The folder of a TensorRT model holds a copy of the same file as
`build_engine.py`, so a machine without this repository needs only the folder,
Python, numpy and TensorRT, or TensorRT for RTX; see
mnv2_mm/runtime/tensorrt_engine.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.runtime import tensorrt_engine


def main() -> None:
    """Build, run, compare and time the engine."""
    sys.exit(tensorrt_engine.main())


if __name__ == '__main__':
    main()
