"""The pages: links, images, length of the README, and the Sphinx build."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from mnv2_mm.utils.config import list_models

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *(ROOT / 'docs').glob('*.md')]
IMAGES = [
    path
    for path in (ROOT / 'docs').rglob('*')
    if path.suffix in ('.jpg', '.png', '.svg')
]
MAX_README_LINES = 200
MAX_IMAGE_BYTES = 60_000

each_page = pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)


def without_code(text: str) -> str:
    """The text without fenced code blocks."""
    return re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)


def links(page: Path) -> list[str]:
    """Targets of Markdown links and of HTML images."""
    text = without_code(page.read_text(encoding='utf-8'))
    found = re.findall(r'\]\(([^)\s]+)\)', text)
    found += re.findall(r'<img[^>]* src="([^"]+)"', text)
    return found + re.findall(r'^\[[^\]]+\]: (\S+)$', text, flags=re.M)


def anchors(page: Path) -> set[str]:
    """The anchors that a repository page gives to the headings."""
    text = without_code(page.read_text(encoding='utf-8'))
    titles = re.findall(r'^#+ (.+)$', text, flags=re.M)
    return {
        re.sub(r'[^\w\- ]', '', title.lower()).strip().replace(' ', '-')
        for title in titles
    }


@each_page
def test_relative_links_exist(page):
    broken = []
    for link in links(page):
        if '://' in link:
            continue
        name, _, anchor = link.partition('#')
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@each_page
def test_commands_and_files_exist(page):
    text = page.read_text(encoding='utf-8')
    names = set(re.findall(r'(?<![\w/])tools/\w+\.(?:py|sh)\b', text))
    names |= set(re.findall(r'(?<![\w/])configs/[\w/]+\.(?:py|yml)\b', text))
    names |= set(re.findall(r'\btests/[\w/]+\.py\b', text))
    names |= set(re.findall(r'\bmnv2_mm/[\w/]+\.py\b', text))
    # upper case stands for a name that the reader chooses
    names = {name for name in names if not re.search(r'[A-Z]{3}', name)}
    assert not {name for name in names if not (ROOT / name).is_file()}


@each_page
def test_configs_by_name_exist(page):
    text = page.read_text(encoding='utf-8')
    pattern = r'python tools/(?:train|test|demo|get_flops)\.py ([a-z0-9_/]+)(?=\s)'
    known = set(list_models()) | {f'official/{name}' for name in list_models()}
    assert set(re.findall(pattern, text)) <= known


def test_readme_is_short():
    lines = (ROOT / 'README.md').read_text(encoding='utf-8').splitlines()
    assert len(lines) <= MAX_README_LINES


@pytest.mark.parametrize('image', IMAGES, ids=lambda image: image.name)
def test_images_are_used_and_small(image):
    used = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in links(page)
        if '://' not in link
    }
    assert image.resolve() in used
    if image.suffix == '.jpg':
        assert image.stat().st_size <= MAX_IMAGE_BYTES
        assert cv2.imread(str(image)) is not None


def test_index_lists_every_page():
    text = (ROOT / 'docs/index.md').read_text(encoding='utf-8')
    pages = {path.stem for path in (ROOT / 'docs').glob('*.md')} - {'index'}
    assert {Path(link).stem for link in re.findall(r'\]\((\w+\.md)\)', text)} == pages
    toctree = re.search(r'```{toctree}\n(.*?)```', text, flags=re.S)[1]
    assert set(toctree.split()) - {':hidden:'} == pages


def test_api_page_names_every_function():
    text = (ROOT / 'docs/api.md').read_text(encoding='utf-8')
    source = (ROOT / 'mnv2_mm/api.py').read_text(encoding='utf-8')
    names = re.findall(r"'(\w+)'", re.search(r'__all__ = \[(.*?)\]', source, re.S)[1])
    assert names
    for name in names:
        assert f'`{name}(' in text


def test_sphinx_builds_without_a_warning(tmp_path):
    pytest.importorskip('sphinx', reason="the extra 'docs' is not installed")
    pytest.importorskip('myst_parser', reason="the extra 'docs' is not installed")
    command = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going']
    done = subprocess.run(
        [*command, '-b', 'html', ROOT / 'docs', tmp_path / 'html'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'html/index.html').is_file()
