"""Feed a reader with bytes that reach new code: coverage_fuzzing.py READER FOLDER.

atheris changes the seeds in FOLDER and keeps what takes another branch. Any exception
but InputError ends it. Further arguments are libFuzzer's.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=['mnv2_mm'], enable_loader_override=False):
    from mnv2_mm.checkpoints.file import read
    from mnv2_mm.checkpoints.readers.tensorflow import read_tensorflow
    from mnv2_mm.checkpoints.readers.tflite import read_tflite
    from mnv2_mm.runtime.description import parse
    from mnv2_mm.utils.errors import InputError

READERS = {
    'checkpoint': read,
    'tflite': read_tflite,
    'graph': read_tensorflow,
    'description': lambda path: parse(path.read_bytes()),
}


def main() -> None:
    """Fuzz until libFuzzer's limits."""
    reader = READERS[sys.argv.pop(1)]
    path = Path(tempfile.mkdtemp()) / 'damaged.pb'

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with contextlib.suppress(InputError):
            reader(path)

    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == '__main__':
    main()
