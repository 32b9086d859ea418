"""One lock for what torch and the hosts keep once per process.

mmengine's default scope, the redirection of prints, and the flag of PyTorch's exporter
that makes layers of the hosts export themselves in place of computing are global. With
models in several threads, one would see the state of another.
"""

import threading

#: Held while a network is built, runs layer by layer, or is exported.
NETWORK_LOCK = threading.RLock()
