"""Write the web page that runs an exported model in a browser, as on a phone.

The page is static files: index.html, its scripts, onnxruntime-web, which runs the
.onnx file, and the model. onnxruntime-web knows no model.json, and turns images into
tensors by the browser's canvas, which resizes otherwise than OpenCV.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mnv2_mm.runtime.description import JSON, read_info
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import staging, write_bytes, write_text

#: The package of npm, MIT license, 33 MB; two of its files are used, 14.3 MB.
VERSION = '1.30.0'
_SHA512 = (
    'q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4C'
    'XAfKYQ=='
)
_ARCHIVE = f'onnxruntime-web-{VERSION}.tgz'
#: Their names there and in a page; nginx does not send .mjs as JavaScript.
_RUNTIME = {
    'ort.wasm.bundle.min.mjs': 'ort.wasm.bundle.min.js',
    'ort-wasm-simd-threaded.wasm': 'ort-wasm-simd-threaded.wasm',
}
_SCRIPTS = ('index.html', 'app.js', 'predict.js')
#: Keeps the other files for use without a network; it names them.
WORKER = 'sw.js'
#: All files of a page but the model's, also of an earlier version's.
PAGE = {*_SCRIPTS, *_RUNTIME, *_RUNTIME.values(), WORKER}
_CROPS = ('crop_share', 'crop_middle')


def write_page(
    exported: str | os.PathLike,
    out: str | os.PathLike,
    *,
    archive: str | os.PathLike | None = None,
) -> int:
    """Write the page of an exported model into a folder; returns its size in bytes.

    Args:
        exported: Folder of a model exported for ONNX Runtime.
        out: Folder of the page.
        archive: onnxruntime-web's archive of npm; default: ``npm pack`` fetches it.

    Raises:
        InputError: another backend, a step that the page does not know, no npm, or
            not the archive of the pinned version. Nothing is written then.
    """
    folder, info = read_info(exported)
    check_backend(info['backend'])
    runtime = runtime_files(archive)
    with staging(out, earlier=PAGE) as stage:
        for name in (JSON, *(file['name'] for file in info['files'])):
            shutil.copyfile(folder / name, stage / name)
        return add_page(stage, info, runtime)


def check_backend(backend: str) -> None:
    """Raise an InputError for a backend whose files the page does not run."""
    if backend != 'onnxruntime':
        raise InputError(
            f'the page runs models for onnxruntime, not for {backend}; choose a '
            'deploy config *_onnxruntime_*.py'
        )


def runtime_files(archive: str | os.PathLike | None = None) -> dict[str, bytes]:
    """onnxruntime-web's files by name, from the archive of npm with the pinned digest.

    Args:
        archive: The archive; default: ``npm pack`` fetches it.

    Raises:
        InputError: no npm, no network, or another archive.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(archive) if archive else _fetch(Path(folder))
        try:
            found = hashlib.sha512(path.read_bytes()).digest()
        except OSError as error:
            raise InputError(f'{path} cannot be read: {error.strerror}') from error
        if base64.b64encode(found).decode() != _SHA512:
            raise InputError(f'{path} is not {_ARCHIVE} as npm published it')
        with tarfile.open(path) as content:
            members = (content.extractfile(f'package/dist/{n}') for n in _RUNTIME)
            files = [member.read() for member in members if member]
    return dict(zip(_RUNTIME.values(), files, strict=True))


def _fetch(folder: Path) -> Path:
    remedy = f'give its archive by --onnxruntime-web {_ARCHIVE}'
    npm = shutil.which('npm')
    if npm is None:
        raise InputError(
            f'npm, which fetches onnxruntime-web, is not installed; install Node.js, '
            f'or {remedy}'
        )
    done = subprocess.run(
        [npm, 'pack', f'onnxruntime-web@{VERSION}', '--loglevel=error'],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ['no message'])[0]
        raise InputError(f'npm cannot fetch onnxruntime-web ({reason}); {remedy}')
    return folder / _ARCHIVE


def add_page(folder: Path, info: Mapping, runtime: Mapping[str, bytes]) -> int:
    """Add the page to the folder of an exported model; returns the size in bytes.

    Args:
        folder: It has model.json and the file of the model.
        info: Content of model.json.
        runtime: What :func:`runtime_files` returns.

    Raises:
        InputError: the page does not know a step, or the graph ends otherwise.
    """
    ending = info['ending'] or {'resize': False, 'argmax': False}
    if ending['resize'] or ending['argmax']:
        raise InputError(
            'the page resizes the logits itself; export without with_resize'
        )
    limits = info['thresholds']
    if limits and not limits['in_graph']:
        raise InputError(
            'the page has no NMS of its own; export without with_nms=False'
        )
    for step in info['preprocessing']['steps']:
        if step['do'] not in _CROPS and step.get('interpolation') != 'bilinear':
            raise InputError(
                f'the page does not know the step {step}; it knows bilinear resizes, '
                f'{" and ".join(_CROPS)}; change the test pipeline of the config'
            )
    source = Path(__file__).parent
    for name, data in runtime.items():
        write_bytes(folder / name, data)
    for name in _SCRIPTS:
        shutil.copyfile(source / name, folder / name)
    names = [*_SCRIPTS, *runtime, JSON, *(file['name'] for file in info['files'])]
    digest = hashlib.sha256(b''.join((folder / n).read_bytes() for n in names))
    # a browser takes the new files when this one has changed
    worker = (source / WORKER).read_text(encoding='utf-8')
    worker = worker.replace('VERSION', digest.hexdigest()[:16])
    worker = worker.replace("['FILES']", json.dumps(['./', *names]))
    write_text(folder / WORKER, worker)
    return sum((folder / name).stat().st_size for name in [*names, WORKER])


def in_words(folder: str | os.PathLike, size: int) -> str:
    """How to open a page of ``size`` bytes."""
    return (
        f'page: {size / 1e6:.1f} MB, http://localhost:8000 after\n'
        f'python -m http.server -d {folder}'
    )
