"""Every row of the paper's tables, against independently counted numbers."""

import json
import pickle
from pathlib import Path

import pytest

pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

from mnv2_mm.analysis import paper, tables
from mnv2_mm.analysis.complexity import count_config
from mnv2_mm.analysis.figure5 import plot_figure5
from mnv2_mm.analysis.markdown import markdown, update
from mnv2_mm.utils.config import config_root, get_config
from mnv2_mm.utils.errors import InputError

DOCUMENT = Path(__file__).resolve().parents[2] / 'docs/paper_tables.md'
#: Parameters with batch norm in millions, and multiply-adds: plain and as
#: the paper counts; in millions for Table 4, else in billions. Counted on
#: independent plain PyTorch models.
COUNTED = {
    'MobileNetV1': (4.232, 568.7, 573.8),
    'ShuffleNet (1.5)': (3.443, 299.6, 299.6),
    'ShuffleNet (x2)': (5.451, 524.0, 524.0),
    'NasNet-A': (5.290, 563.6, 563.6),
    'MobileNetV2': (3.505, 300.8, 300.8),
    'MobileNetV2 (1.4)': (6.109, 582.2, 582.2),
    'SSD': (14.777, 1.259, 1.259),
    'SSDLite': (2.113, 0.1776, 0.3552),
    'SSD300': (34.305, 34.36, 35.37),
    'SSD512': (36.038, 98.63, 99.91),
    'YOLOv2': (50.963, 14.73, 14.73),
    'MNet V1 + SSDLite': (5.101, 1.309, 1.309),
    'MNet V2 + SSDLite': (4.337, 0.789, 0.789),
    'MNet V1, OS 16, ASPP': (11.145, 12.761, 14.258),
    'MNet V1, OS 8, ASPP, MF': (11.145, 800.7, 991.91),
    'MNet V2*, OS 16, ASPP': (4.524, 5.364, 5.823),
    'MNet V2*, OS 8, ASPP, MF': (4.524, 327.9, 387.48),
    'MNet V2*, OS 16': (2.114, 2.741, 2.742),
    'MNet V2*, OS 8, MF': (2.114, 152.33, 152.53),
    'ResNet-101, OS 16, ASPP': (58.164, 76.05, 80.83),
    'ResNet-101, OS 8, ASPP, MF': (58.164, 4353.8, 4868.9),
}


@pytest.fixture(scope='module')
def results(once) -> list[tables.Result]:
    def count(folder):
        folder.mkdir()
        found = tables.count_tables(tables.NAMES)
        (folder / 'results').write_bytes(pickle.dumps(found))

    return pickle.loads((once('paper_tables', count) / 'results').read_bytes())


@pytest.fixture(scope='module')
def rows(results) -> dict[str, tables.Result]:
    return {str(r['row']): r for r in results if r['table'] in '4567'}


def test_every_row_is_compared(rows):
    assert rows.keys() == COUNTED.keys()


@pytest.mark.parametrize('name', COUNTED)
def test_counts(rows, name):
    params, madds, as_paper = COUNTED[name]
    row = rows[name]
    unit = 1e6 if row['table'] == '4' else 1e9
    assert row['params'] / 1e6 == pytest.approx(params, rel=5e-4)
    assert row['madds'] / unit == pytest.approx(madds, rel=5e-4)
    assert row['madds_as_paper'] / unit == pytest.approx(as_paper, rel=5e-4)


def test_a_difference_has_a_reason(results):
    for row in results:
        if row['table'] == '3':
            continue
        pairs = [
            (row['madds'], row['paper_madds']),
            (row['madds_as_paper'], row['paper_madds']),
        ]
        with_norm = row['paper_params_with_norm']
        params = row['params' if with_norm else 'params_without_norm']
        pairs.append((params, row['paper_params']))
        errors = [abs(ours / theirs - 1) for ours, theirs in pairs]
        same = row['paper_convention'] == 'madds'
        if max(errors) > 0.01 and (same or row['table'] != '6'):
            assert row['note'], row['row']


def test_the_two_other_networks_of_the_yolov2_row():
    config = config_root() / 'table6/yolov2.py'
    voc = count_config(config, options={'model.bbox_head.num_classes': 20})
    assert voc.num_params() == pytest.approx(50.655e6, rel=1e-4)
    early = count_config(config, options={'model.neck.passthrough_channels': None})
    assert early.cost() == pytest.approx(17.501e9, rel=1e-4)
    assert early.num_params() == pytest.approx(67.445e6, rel=1e-4)


def test_figure5_agrees_with_the_release_to_the_integer(results):
    grid = [row for row in results if row['table'] == 'figure5']
    assert len(grid) == 22
    for row in grid:
        assert int(row['madds'] / 1e6) == row['paper_madds'] / 1e6
        assert row['params_without_norm'] == pytest.approx(
            row['paper_params'], rel=3e-3
        )
        width, _, side = str(row['row']).partition(', ')
        assert row['input'] == f'{side}x{side}'
        assert f'w{float(width) * 100:03.0f}_r{int(side):03d}' in row['config']


@pytest.mark.parametrize('row', paper.FIGURE_5, ids=lambda row: row.name)
def test_figure5_trains_and_tests_at_its_resolution(row):
    side = int(row.name.partition(', ')[2])
    cfg = get_config(config_root() / row.config)

    def steps(loader):
        return {step.type.rpartition('.')[2]: step for step in loader.dataset.pipeline}

    assert steps(cfg.train_dataloader)['DistortedCrop'].scale == side
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert steps(loader)['CentralCrop'].fraction == 0.875
        assert steps(loader)['Resize'].scale == side


def test_every_row_has_its_config_and_is_quoted(results):
    root = config_root().parent
    for row in results:
        assert (root / str(row['config'])).is_file()
        assert 'quoted' in str(row['source'])
    assert set(paper.TABLES) | {'3'} == set(tables.NAMES)


def test_document_is_up_to_date(results, tmp_path):
    assert not update(DOCUMENT, markdown(results), write=False), (
        'run: python tools/paper_tables.py --write'
    )
    copy = tmp_path / 'copy.md'
    stale = DOCUMENT.read_text().replace('300.8M', '300.9M')
    copy.write_text(stale)
    assert update(copy, markdown(results), write=False)
    assert copy.read_text() == stale
    assert update(copy, markdown(results))
    assert copy.read_text() == DOCUMENT.read_text()


def test_figure_is_drawn(results, tmp_path):
    plot_figure5(results, tmp_path / 'new' / 'figure5.png')
    assert (tmp_path / 'new' / 'figure5.png').stat().st_size > 10_000


# -------------------------------------------------------------------- the tool
def test_tool_writes_json_and_markdown(run_tool, tmp_path, capfd):
    flags = ['--json', tmp_path / 'a/t.json', '--markdown', tmp_path / 't.md']
    assert run_tool('paper_tables', '--table', '5', *flags) == 0
    shown = capfd.readouterr()
    (ssd, ssdlite) = json.loads((tmp_path / 'a/t.json').read_text())
    wanted = 'table row config params madds paper_params paper_madds '
    wanted += 'paper_accuracy convention note'
    assert set(wanted.split()) <= ssd.keys()
    assert ssdlite['madds'] == 177_617_344
    text = (tmp_path / 't.md').read_text()
    assert '0.355B: FLOPs' in text and '+1.5 %' in text
    # the console has the same, aligned and without links
    lines = [x for x in shown.out.splitlines() if x.startswith('SSD')]
    assert lines[0].split()[:3] == ['SSD', '14.777M', '14.8M']
    assert lines[1].split()[:3] == ['SSDLite', '[1]', '2.113M']
    assert lines[0].index('14.777M') == lines[1].index(' 2.113M')
    assert '](' not in shown.out and '<sup>' not in shown.out
    assert '\n[1] This one cell of the paper is FLOPs' in shown.out


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--table', '8'], "no table '8'; give one of 3, 4, 5, 6, 7, figure5"),
        (['--table', '5', '--png', 'x'], '--png draws Figure 5'),
        (['--table', '5', '--write', 'x'], '--write and --check take all'),
        (['--table', '5', '--check'], '--write and --check take all'),
    ],
)
def test_tool_says_what_is_wrong(run_tool, capfd, flags, words):
    assert run_tool('paper_tables', *flags) == 2
    error = capfd.readouterr().err
    assert words in error and 'Traceback' not in error


def test_tool_checks_and_writes(run_tool, monkeypatch, results, tmp_path, capfd):
    monkeypatch.setattr(tables, 'count_tables', lambda *args, **kwargs: results)
    copy = tmp_path / 'copy.md'
    copy.write_text(DOCUMENT.read_text().replace('300.8M', '300.9M'))
    assert run_tool('paper_tables', '--check', copy) == 1
    assert 'out of date' in capfd.readouterr().out
    assert run_tool('paper_tables', '--write', copy) == 0
    assert run_tool('paper_tables', '--check', copy) == 0
    assert run_tool('paper_tables', '--check') == 0
    assert str(DOCUMENT) in capfd.readouterr().out


def test_a_file_without_markers_is_named(tmp_path):
    path = tmp_path / 'x.md'
    with pytest.raises(InputError, match='there is no file'):
        update(path, '')
    path.write_text('text')
    with pytest.raises(InputError, match='put <!-- paper_tables'):
        update(path, '')
    assert path.read_text() == 'text'


def test_a_config_that_does_not_build_is_named(tmp_path, monkeypatch):
    (tmp_path / 'table5').mkdir()
    (tmp_path / 'table5/ssd_mobilenet_v2.py').write_text('model = oops')
    monkeypatch.setattr(tables, 'config_root', lambda: tmp_path)
    with pytest.raises(InputError, match=r'ssd_mobilenet_v2\.py cannot be read'):
        tables.count_tables(['5'])
