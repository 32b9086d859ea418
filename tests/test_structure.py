"""The house rules that a tool can check: import direction, package faces."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FACES = sorted((ROOT / 'mnv2_mm').rglob('__init__.py'))


def lint_imports(config):
    return subprocess.run(
        [
            sys.executable,
            '-c',
            'import sys; from importlinter.cli import lint_imports as main; '
            'sys.exit(main(config_filename=sys.argv[1], no_cache=True))',
            str(config),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={'PYTHONPATH': str(ROOT), 'PATH': ''},
    )


def test_imports_point_down_without_circles():
    pytest.importorskip('importlinter')
    done = lint_imports(ROOT / 'pyproject.toml')
    assert done.returncode == 0, done.stdout
    assert '0 broken' in done.stdout


def test_the_import_check_can_fail(tmp_path):
    pytest.importorskip('importlinter')
    upside_down = tmp_path / 'pyproject.toml'
    upside_down.write_text(
        '[tool.importlinter]\nroot_package = "mnv2_mm"\n'
        '[[tool.importlinter.contracts]]\nname = "up"\ntype = "layers"\n'
        'layers = ["mnv2_mm.utils", "mnv2_mm.models"]\n'
    )
    assert lint_imports(upside_down).returncode != 0


@pytest.mark.parametrize('file', FACES, ids=lambda f: str(f.parent.relative_to(ROOT)))
def test_a_package_face_is_empty_or_documented(file):
    tree = ast.parse(file.read_text())
    if not tree.body:
        return
    assert ast.get_docstring(tree)
    names = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert '__all__' in names
