"""The deployment part of ``python -m mnv2_mm.check --deploy``.

mmdeploy's metadata asks for protobuf 3.20 and upstream's mmengine. Installed
with its dependencies it replaces what an environment of today needs, or pip
steps back to mmdeploy 0.2.0 without a word; hence an installation apart.

Nothing need be installed for this to run.
"""

from collections.abc import Callable, Mapping

from mnv2_mm.utils import compat
from mnv2_mm.utils.import_check import ImportResult

#: The only release that the rewriters are written for: its last one.
MMDEPLOY = '1.3.1'
#: Modules that are imported to see whether they work.
MODULES = ('aenum', 'onnx', 'onnxruntime', 'ncnn', 'mmdeploy')
#: What each module is for; without the first two there is no export at all.
SERVES = {
    'aenum': 'mmdeploy imports it',
    'onnx': 'every build is exported through it',
    'onnxruntime': 'ONNX Runtime builds, and the check of TensorRT graphs',
    'ncnn': 'ncnn builds',
}
_NEEDED = ('aenum', 'onnx')

#: Distributions that install TensorRT for Python, one of which is there.
TENSORRT = ('tensorrt', 'tensorrt-cu12', 'tensorrt-cu13', 'tensorrt-bindings')


def tensorrt_known(version: str) -> bool:
    """Same rule as ``known`` in mnv2_mm/runtime/tensorrt_engine.py.

    That file is copied to devices and imports numpy; nothing may import up.
    """
    major, minor = map(int, version.split('.')[:2])
    return (major, minor) >= (8, 6) and major in (8, 10, 11)


class DeployReport:
    """Rows, problems and remarks about the deployment, as ``Report``.

    Args:
        probes: What came of importing each module, by its name.
        pins: Version by distribution of the tested combination.
        pip: Turns pip's arguments into a command line.
    """

    def __init__(
        self,
        probes: Mapping[str, ImportResult],
        pins: Mapping[str, str],
        pip: Callable[[str], str],
    ) -> None:
        self.pins = pins
        self.pip = pip
        self.rows: list[tuple[str, str, str]] = []
        self.problems: list[tuple[str, str]] = []
        self.remarks: list[tuple[str, str]] = []
        for name in ('aenum', 'onnx', 'onnxruntime', 'ncnn'):
            self._library(name, probes[name])
        self._mmdeploy(probes['mmdeploy'])
        self._tensorrt()

    def _library(self, name: str, found: ImportResult) -> None:
        what = f'{name}=={self.pins[name]}' if name in self.pins else name
        where = self.problems if name in _NEEDED else self.remarks
        if not found.found:
            self.rows.append((name, '-', 'missing'))
            text = f'{name} is missing ({SERVES[name]})'
            where.append((text, self.pip(f'install {what}')))
        elif found.error:
            version = compat.version_of(name) or '?'
            self.rows.append((name, version, 'broken'))
            text = f'{name} cannot be imported: {found.error}'
            mend = self.pip(f'install --force-reinstall {what}')
            where.append((text, mend))
        else:
            version = compat.version_of(name) or '?'
            self.rows.append((name, version, ''))
            if version != self.pins.get(name, version):
                tested = self.pins[name]
                text = f'{name} {version} is not tested, {tested} is'
                self.remarks.append((text, ''))

    def _tensorrt(self) -> None:
        """Optional: without it everything but the engine is written."""
        version = next(filter(None, map(compat.version_of, TENSORRT)), None)
        if version is None:
            state = (
                'optional, not here: builds are written without it, their '
                'build_engine.py makes the engine on the machine with the GPU'
            )
        elif tensorrt_known(version):
            state = 'optional'
        else:
            state = 'optional, other version'
            text = (
                f'tensorrt is {version}, and engines are made and run with '
                '8.6, 10 and 11'
            )
            self.remarks.append((text, ''))
        self.rows.append(('tensorrt', version or '-', state))

    def _mmdeploy(self, found: ImportResult) -> None:
        mend = self.pip(f'install --no-deps mmdeploy=={MMDEPLOY}')
        version = compat.version_of('mmdeploy')
        if not found.found:
            self.rows.append(('mmdeploy', '-', 'missing'))
            text = (
                'mmdeploy is missing; install it without its dependencies, '
                'which would replace protobuf and mmengine'
            )
            self.problems.append((text, mend))
        elif version != MMDEPLOY:
            self.rows.append(('mmdeploy', version or '?', 'other version'))
            text = (
                f'mmdeploy is {version}, its last release {MMDEPLOY} is '
                'needed; pip chooses an old one where current packages rule '
                'out what the last one asks for'
            )
            self.problems.append((text, mend))
        elif found.error:
            self.rows.append(('mmdeploy', version, 'broken'))
            text = f'mmdeploy cannot be imported: {found.error}'
            lacks = found.missing.partition('.')[0]
            if lacks and lacks != 'mmdeploy':
                mend = self.pip(f'install {lacks}')
            else:
                mend = mend.replace('install', 'install --force-reinstall', 1)
            self.problems.append((text, mend))
        else:
            self.rows.append(('mmdeploy', version, ''))
