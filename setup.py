"""Packaging: the plug-in never replaces an OpenMMLab installation.

Upstream's OpenMMLab packages and the maintained ``onedl-*`` continuation own
the same import folders (``mmdet``, ``mmcv``, ...), so a hard requirement on
either would overwrite the other. Only pydantic is required; the extras name
what is needed and ``python -m mnv2_mm.check`` says what is missing.

Wheels carry ``mnv2_mm/.mim`` with the configs, the tools and the model
index, where mim and mmengine look for them (``mnv2_mm::name``). An editable
install gets links instead, so that an edited config counts at once.
"""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
#: What goes into `<package>/.mim`, by its name in the repository: what mim
#: expects, and the tested versions for `mnv2_mm.check`.
MIM_CONTENT = ('configs', 'tools', 'model-index.yml', 'requirements')


def requirements(name: str) -> list[str]:
    """Lines of requirements/<name>.txt without comments."""
    lines = (ROOT / f'requirements/{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def pinned(name: str) -> list[str]:
    """The same in the versions that were tested together."""
    pins = {line.split('==')[0]: line for line in requirements('constraints-onedl')}
    return [pins[line] for line in requirements(name)]


class BuildWithMim(build_py):
    """Put ``.mim`` into the package: copied in a wheel, linked in place."""

    def run(self) -> None:
        """Build the modules, then ``.mim``."""
        if not self.editable_mode:  # modules that are gone since the last build
            shutil.rmtree(Path(self.build_lib) / 'mnv2_mm', ignore_errors=True)
        super().run()
        # PEP 660 runs this command with editable_mode set
        base = ROOT if self.editable_mode else Path(self.build_lib)
        target = base / 'mnv2_mm/.mim'
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)  # what an earlier build left is stale
        target.mkdir(parents=True)
        for name in MIM_CONTENT:
            source = ROOT / name
            if self.editable_mode:
                self._link(source, target / name)
            else:
                self._copy(source, target / name)

    def _link(self, source: Path, target: Path) -> None:
        try:
            target.symlink_to(os.path.relpath(source, target.parent))
        except OSError:  # no links on this file system
            self._copy(source, target)

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_dir():
            ignore = shutil.ignore_patterns('__pycache__', '*.pyc')
            shutil.copytree(source, target, ignore=ignore)
        else:
            shutil.copy2(source, target)


setup(
    name='mnv2_mm',
    version=re.search(
        r"__version__ = '(.+)'", (ROOT / 'mnv2_mm/version.py').read_text()
    ).group(1),
    description=(
        'MobileNetV2, SSDLite and Mobile DeepLabv3 for mmdet, '
        'mmsegmentation and mmpretrain'
    ),
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    project_urls={'Paper': 'https://arxiv.org/abs/1801.04381'},
    classifiers=[
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
    ],
    python_requires='>=3.10',  # no upper bound: untested is not forbidden
    packages=find_packages(include=['mnv2_mm', 'mnv2_mm.*']),
    cmdclass={'build_py': BuildWithMim},
    install_requires=requirements('base'),
    extras_require={
        'onedl': pinned('onedl'),
        'convert': requirements('convert'),
        'data': requirements('data'),
        # checkpoints of TensorFlow, for tools/convert_weights.py
        'tensorflow': ['tensorflow'],
        'deploy': requirements('deploy'),
        'report': requirements('report'),
        'demo': requirements('demo'),
        'litert': requirements('litert'),
        'openvino': requirements('openvino'),
        'docs': requirements('docs'),
        'dev': requirements('dev'),
    },
    entry_points={'console_scripts': ['mnv2 = mnv2_mm.commands.main:main']},
    package_data={
        'mnv2_mm': [
            'py.typed',
            'analysis/report/*.jinja',
            'runtime/web/*.html',
            'runtime/web/*.js',
        ]
    },
    zip_safe=False,
)
