"""The deployment part of ``python -m mnv2_mm.check --deploy``.

mmdeploy's metadata asks for protobuf 3.20 and upstream's mmengine. Installed
with its dependencies it replaces packages of a current environment, or pip
installs mmdeploy 0.2.0 instead without a warning; hence ``--no-deps``.

This imports the standard library only.
"""

from collections.abc import Callable, Mapping

from mnv2_mm.utils import compat
from mnv2_mm.utils.import_check import ImportResult

#: The only release that the rewriters are written for: its last one.
MMDEPLOY = '1.3.1'
#: pip's arguments for the converter to TFLite. It pins its dependencies by ==, and
#: declares Python 3.12, but converts with 3.11 too.
ONNX2TF = 'install --no-deps --ignore-requires-python onnx2tf==2.6.9'
#: What an export needs, and what it is for.
REQUIRED = {
    'aenum': 'mmdeploy imports it',
    'onnx': 'every model is exported through it',
    'onnxslim': 'it simplifies the exported graphs',
}
#: What one backend needs, and what it is for.
OPTIONAL = {
    'onnxruntime': 'ONNX Runtime, and the check of TensorRT graphs',
    'ncnn': 'ncnn',
    'openvino': 'OpenVINO',
    'ai_edge_litert': 'LiteRT',
    'onnx2tf': 'the export for LiteRT',
    'ai_edge_quantizer': 'LiteRT in float16 and 8 bits',
    **dict.fromkeys(('psutil', 'sne4onnx', 'sng4onnx'), 'onnx2tf imports it'),
}
#: Modules that are imported to see whether they work.
MODULES = (*REQUIRED, *OPTIONAL, 'mmdeploy')
#: Distributions that install TensorRT for Python; one is enough.
TENSORRT = ('tensorrt', 'tensorrt-cu12', 'tensorrt-cu13', 'tensorrt-bindings')


class DeployReport:
    """Rows, problems and warnings about the deployment.

    Args:
        results: Result of importing each of :data:`MODULES`, by its name.
        pins: Version by distribution of the tested combination.
        pip: Turns pip's arguments into a command line.

    Attributes:
        rows: Name, version and state of each package.
        problems: Texts and commands that repair, without which no export works.
        warnings: The same, for what only one backend needs.
    """

    def __init__(
        self,
        results: Mapping[str, ImportResult],
        pins: Mapping[str, str],
        pip: Callable[[str], str],
    ) -> None:
        self.pins = pins
        self.pip = pip
        self.rows: list[tuple[str, str, str]] = []
        self.problems: list[tuple[str, str]] = []
        self.warnings: list[tuple[str, str]] = []
        for name in (*REQUIRED, *OPTIONAL):
            self._library(name, results[name])
        self._mmdeploy(results['mmdeploy'])
        self._tensorrt()

    def _library(self, name: str, found: ImportResult) -> None:
        pin = self.pins.get(name.replace('_', '-'))
        what = f'{name}=={pin}' if pin else name
        texts = self.problems if name in REQUIRED else self.warnings
        version = compat.version_of(name) or '?'
        if not found.found:
            self.rows.append((name, '-', 'missing'))
            text = f'{name} is missing ({(REQUIRED | OPTIONAL)[name]})'
            command = ONNX2TF if name == 'onnx2tf' else f'install {what}'
            texts.append((text, self.pip(command)))
        elif found.error:
            self.rows.append((name, version, 'broken'))
            text = f'{name} cannot be imported: {found.error}'
            texts.append((text, self.pip(f'install --force-reinstall {what}')))
        else:
            self.rows.append((name, version, ''))
            tested = pin or version
            if version != tested:
                text = f'{name} {version} is not tested, {tested} is'
                self.warnings.append((text, ''))

    def _mmdeploy(self, found: ImportResult) -> None:
        command = self.pip(f'install --no-deps mmdeploy=={MMDEPLOY}')
        version = compat.version_of('mmdeploy') or '?'
        text = state = ''
        if not found.found:
            version, state = '-', 'missing'
            text = (
                'mmdeploy is missing; install it without its dependencies, '
                'which would replace protobuf and mmengine'
            )
        elif version != MMDEPLOY:
            state = 'other version'
            text = (
                f'mmdeploy is {version}, its last release {MMDEPLOY} is '
                'needed; pip installs an old one if the requirements of the '
                'last one conflict with current packages'
            )
        elif found.error:
            state = 'broken'
            text = f'mmdeploy cannot be imported: {found.error}'
            lacks = found.missing.partition('.')[0]
            if lacks and lacks != 'mmdeploy':
                command = self.pip(f'install {lacks}')
            else:
                command = command.replace('install', 'install --force-reinstall', 1)
        self.rows.append(('mmdeploy', version, state))
        if text:
            self.problems.append((text, command))

    def _tensorrt(self) -> None:
        """Optional: only the engine needs it."""
        version = next(filter(None, map(compat.version_of, TENSORRT)), None)
        state = 'optional'
        if version is None:
            state = (
                'optional, not here: models are exported without it, their '
                'build_engine.py builds the engine on the machine with the GPU'
            )
        elif not _tensorrt_known(version):
            state = 'optional, other version'
            text = f'tensorrt is {version}; engines are built with 8.6, 10 and 11'
            self.warnings.append((text, ''))
        self.rows.append(('tensorrt', version or '-', state))


def _tensorrt_known(version: str) -> bool:
    """Same rule as ``known`` in mnv2_mm/runtime/tensorrt_engine.py.

    That file is copied to devices and imports numpy; nothing may import up.
    """
    major, minor = map(int, version.split('.')[:2])
    return (major, minor) >= (8, 6) and major in (8, 10, 11)
