"""The metafiles, and the table of the model zoo that is made from them."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from mnv2_mm.analysis import model_zoo
from mnv2_mm.analysis.markdown import update
from mnv2_mm.checkpoints.hub import listed_models, published_models

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = list(listed_models())
each_entry = pytest.mark.parametrize('entry', ENTRIES, ids=lambda e: e['Name'])
ORIGINS = {'Stated by', 'Measured by'}


def test_index_names_every_metafile():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    files = {
        str(path.relative_to(ROOT)) for path in ROOT.glob('configs/*/metafile.yml')
    }
    assert set(index['Import']) == files
    collections = {entry['Name'] for entry in index['Collections']}
    assert {entry['In Collection'] for entry in ENTRIES} == collections


def test_names_are_unique_and_run_by_name():
    names = [entry['Name'] for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert {e['Name'] for e in ENTRIES if 'Source' in e} == set(published_models())


@pytest.mark.parametrize('folder', ['official', 'figure5'])
def test_every_config_of_a_published_network_is_listed(folder):
    # width 0.5 of DeepLab was published, but no address of it is known
    paths = set((ROOT / 'configs' / folder).glob('*.py'))
    paths -= {ROOT / 'configs/official/deeplabv3_mnv2_dm05_voc.py'}
    assert paths <= {ROOT / entry['Config'] for entry in ENTRIES}


@each_entry
def test_entry_is_complete(entry):
    assert (ROOT / entry['Config']).is_file()
    if source := entry.get('Source'):
        assert entry['Weights'].startswith('https://')
        assert source['License'] and source['Publisher']
        digest = source.get('Digest', 'sha256:' + 64 * '0')
        assert re.fullmatch('sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}', digest)
    for result in entry['Results']:
        assert result['Task'] and result['Dataset'] and result['Metrics']
        assert len(ORIGINS & set(result)) == 1  # quoted and measured are never mixed
    if 'Source' not in entry:  # an example: it is here for what it measured
        assert all('Measured by' in result for result in entry['Results'])
        assert entry['Results']


def test_page_is_up_to_date(tmp_path):
    page = shutil.copy(ROOT / 'docs/model_zoo.md', tmp_path)
    table = model_zoo.markdown(model_zoo.latencies(ROOT / 'docs/latency.json'))
    assert not update(page, table, section='model_zoo')
    for entry in ENTRIES:
        assert f'[`{entry["Name"]}`]' in table


def test_table_has_each_number_in_its_column():
    entry = next(e for e in ENTRIES if e['Name'] == 'mnv2_in1k')
    result = {'Dataset': 'D', 'Metrics': {'Top 1 Accuracy': 70.5}, 'Measured by': 'M'}
    entry = {**entry, 'Results': [*entry['Results'], result]}
    times = dict(environment=None, milliseconds={'mnv2_in1k': [23.0, 11.0]})
    head, _, row, _, *notes = model_zoo.markdown(times, [entry]).splitlines()
    cells = dict(zip(head.split(' | '), row.split(' | '), strict=True))
    assert cells['parameters'] == '3.50M'  # 3,504,872
    assert cells['multiply-adds'] == '301M'
    assert cells['quoted'].startswith('top-1 71.8, top-5 91.0')
    assert cells['measured here'] == 'top-1 70.5 <sup>2</sup>'
    assert (cells['ms, layer by layer'], cells['ms']) == ('23.0', '11.0')
    assert notes[1] == '2. D: M'
