"""Export a model: tools/export.py under the name that users of mmdeploy look for."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from export import main

if __name__ == '__main__':
    main()
