"""The page that tools/report.py writes: figures, no network, messages for mistakes."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mnv2_mm.analysis.report.collect import Sample
from mnv2_mm.analysis.report.findings import Bar, Findings, Ranked, Section
from mnv2_mm.analysis.report.page import draw_images, render
from mnv2_mm.utils.files import write_image

SLOW = pytest.mark.slow
CHROMIUM = next(
    filter(
        None,
        map(shutil.which, ('chromium-headless-shell', 'chromium', 'google-chrome')),
    ),
    None,
)


class Page(HTMLParser):
    """Titles, addresses and open tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.addresses, self.tags, self.alts = [], [], [], []
        self._heading = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.addresses += [attrs[k] for k in ('src', 'href') if k in attrs]
        self.alts += [attrs.get('alt')] if tag == 'img' else []
        self._heading = tag == 'h2'

    def handle_data(self, data):
        if self._heading:
            self.headings.append(data)
        self._heading = False


def check_page(text):
    """It needs no network, runs no script, and each image has a text."""
    page = Page(text)
    assert all(address.startswith('data:') for address in page.addresses)
    assert 'script' not in page.tags
    assert '@import' not in text and 'url(' not in text
    assert page.alts and all(page.alts)
    assert len(text) < 5_000_000
    return page


def check_in_chromium(path, folder):
    """Open it at two widths: it is drawn, and nothing is said on the console."""
    for width in (1280, 390):
        shot = folder / f'{width}.png'
        flags = f'--window-size={width},3000', f'--screenshot={shot}'
        done = subprocess.run(
            [
                CHROMIUM,
                '--headless',
                '--no-sandbox',
                '--enable-logging=stderr',
                *flags,
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert 'CONSOLE' not in done.stderr, done.stderr
        assert shot.stat().st_size > 20_000


@pytest.fixture
def findings(tmp_path):
    """Made-up findings of a model with a class named like HTML."""
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    write_image(tmp_path / 'a.png', image)
    truth = dict(boxes=np.array([[5.0, 5, 40, 40]]), labels=np.array([0]))
    found = truth | {'scores': np.array([0.9])}
    ranked = [Ranked(Sample(str(tmp_path / 'a.png'), truth, found), '1 of 1')]
    ranked.append(Ranked(Sample(str(tmp_path / 'gone.png'), truth, found), 'gone'))
    row = ['<script>x</script>', '3', Bar('50.0%', 0.5)]
    part = Section('Classes', 'Text.', columns=['class', 'objects', 'AP'], rows=[row])
    empty = Section('Nothing', 'Left out.')
    return Findings('mAP', '0.5', 'mean', 'Words.', [part, empty], ranked, 0.3)


def page_of(findings):
    images = draw_images(findings.ranked, dict(classes=('<i>',)), threshold=0.3)
    return images, render(
        findings,
        title='A & B',
        subtitle='of today',
        facts={'images': '2'},
        training=[],
        worst=images,
        best=[],
        tables={'Size': {'input': '64 x 64'}},
        commands={'Predict': "mnv2 predict 'my photos'"},
    )


def test_page_escapes_names_and_leaves_out_what_is_empty(findings):
    images, text = page_of(findings)
    assert [name for _, name, _ in images] == ['a.png']
    page = check_page(text)
    assert '&lt;script&gt;x' in text and 'A &amp; B' in text
    assert page.headings == ['Classes', 'Worst images', 'Size', 'Next steps']
    assert '--share: 50.0%' in text


@pytest.mark.skipif(not CHROMIUM, reason='Chromium is not installed')
def test_page_in_chromium(findings, tmp_path):
    path = tmp_path / 'report.html'
    path.write_text(page_of(findings)[1])
    check_in_chromium(path, tmp_path)


@pytest.mark.parametrize(
    ('task', 'headings', 'key', 'scale'),
    [
        ('det', {'Precision and recall', 'Errors by kind'}, 'coco/bbox_mAP', 1),
        pytest.param('seg', set(), 'mIoU', 1, marks=SLOW),
        pytest.param('cls', set(), 'accuracy/top1', 1, marks=SLOW),
    ],
)
def test_report_of_a_training(
    trained, run_tool, tmp_path, capfd, monkeypatch, task, headings, key, scale
):
    if task == 'det':
        pytest.importorskip('faster_coco_eval', reason="the extra 'report' is missing")
    _, checkpoint = trained(task)
    monkeypatch.setattr('mnv2_mm.commands.report._RUNS', 3)
    work_dir = tmp_path / 'my work'
    shutil.copytree(checkpoint.parent, work_dir)
    before = sorted(work_dir.rglob('*'))
    assert run_tool('report', work_dir, '--images', 2) == 0
    out = work_dir / 'report.html'
    assert sorted(work_dir.rglob('*')) == sorted([*before, out])
    text = out.read_text()
    page = check_page(text)
    common = {'Training', 'Classes', 'Confusion matrix', 'Size and speed', 'Next steps'}
    assert common | headings <= set(page.headings)
    config, *_ = work_dir.glob('*.py')
    (used,) = {name for name in re.findall(r'[\w]+\.pth', text)}
    assert run_tool('test', config, work_dir / used, '--work-dir', tmp_path / 't') == 0
    expected = json.loads((tmp_path / 't/metrics.json').read_text())['metrics'][key]
    headline = float(re.search(r'class="main">[^<]*<b>([\d.]+)', text)[1])
    assert headline == pytest.approx(
        expected * scale, abs=0.06 if task != 'det' else 6e-4
    )
    commands = re.findall(r'<pre>(.*?)</pre>', text, flags=re.S)
    assert len(commands) == 4 and all('&#39;' in command for command in commands)
    if CHROMIUM:
        check_in_chromium(out, tmp_path)


@pytest.fixture
def finished(trained, tmp_path):
    """A copy of the folder of a classification that was trained."""
    _, checkpoint = trained('cls')
    return Path(shutil.copytree(checkpoint.parent, tmp_path / 'run'))


def fails(run_tool, capfd, *arguments):
    """Message of a report that cannot be written; nothing is left."""
    capfd.readouterr()
    assert run_tool('report', *arguments) == 2
    assert not list(Path(arguments[0]).glob('*report.html*'))
    return capfd.readouterr().err


def test_folders_without_a_training(run_tool, capfd, tmp_path):
    assert 'nowhere' in fails(run_tool, capfd, tmp_path / 'nowhere')
    assert 'no complete checkpoint' in fails(run_tool, capfd, tmp_path)
    (tmp_path / 'epoch_1.pth').write_bytes(b'cut off')
    assert 'no complete checkpoint' in fails(run_tool, capfd, tmp_path)


def test_folder_without_a_config(run_tool, capfd, finished):
    for path in finished.glob('*.py'):
        path.rename(path.with_suffix('.txt'))
    assert '--config' in fails(run_tool, capfd, finished)


def test_moved_data_and_other_classes(run_tool, capfd, finished):
    option = 'test_dataloader.dataset.data_root=/no/such/folder'
    assert '/no/such/folder' in fails(
        run_tool, capfd, finished, '--cfg-options', option
    )
    options = ['model.head.num_classes=3']
    assert '3' in fails(run_tool, capfd, finished, '--cfg-options', *options)
    assert '--images is -1' in fails(run_tool, capfd, finished, '--images', -1)


def test_empty_set(run_tool, capfd, finished, tmp_path):
    config, *_ = finished.glob('*.py')
    (tmp_path / 'empty').mkdir()
    with config.open('a') as file:
        file.write(f"test_dataloader['dataset']['data_root'] = '{tmp_path}/empty'\n")
    assert 'error' in fails(run_tool, capfd, finished)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_output_that_cannot_be_written(run_tool, capfd, finished):
    finished.chmod(0o500)
    try:
        assert 'report.html' in fails(run_tool, capfd, finished)
    finally:
        finished.chmod(0o700)
