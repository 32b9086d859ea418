"""tools/test.py --limit: evaluation on some of the images."""

import json
import pickle
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS

from mnv2_mm.commands.test import limit_metrics, subset_dataset
from mnv2_mm.utils.config import evaluation_dataset
from mnv2_mm.utils.config_errors import host_of
from mnv2_mm.utils.errors import InputError


def paths(cfg):
    """Files of the test data set, in order."""
    dataset = DATASETS.build(evaluation_dataset(cfg))
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [info.get('img_path') or info['img'] for info in infos]


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_images_are_spread_over_the_data_set(tiny_config, task):
    cfg = Config.fromfile(tiny_config(task))
    host_of(cfg)
    subset_dataset(cfg, 10**6)
    every = paths(cfg)
    assert len(every) >= 8
    subset_dataset(cfg, 3)
    kept = paths(cfg)
    assert len(kept) == 3
    assert (kept[0], kept[-1]) == (every[0], every[-1])
    assert kept[1] in every[len(every) // 3 : -len(every) // 3]
    with pytest.raises(InputError, match='--limit is 0'):
        subset_dataset(cfg, 0)


def test_coco_counts_the_images_that_are_there():
    """Without the ids, three of a thousand would be an mAP near zero."""
    metric = SimpleNamespace(_coco_api=object(), img_ids=None)
    other = SimpleNamespace(img_ids=None)

    class Dataset(list):
        def get_data_info(self, index):
            return {'img_id': self[index]}

    dataset = Dataset([4, 17, 30])
    runner = SimpleNamespace(
        test_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset)),
        test_evaluator=SimpleNamespace(metrics=[metric, other]),
    )
    limit_metrics(runner)
    assert metric.img_ids == [4, 17, 30]
    assert other.img_ids is None


def test_the_tool_takes_the_limit(trained, run_tool, tmp_path):
    config, checkpoint = trained('det')
    flags = ['--limit', 3, '--out', tmp_path / 'out.pkl']
    code = run_tool('test', config, checkpoint, '--work-dir', tmp_path, *flags)
    assert code == 0
    with open(tmp_path / 'out.pkl', 'rb') as file:
        assert len(pickle.load(file)) == 3
    figures = json.loads((tmp_path / 'metrics.json').read_text())['metrics']
    assert 'coco/bbox_mAP' in figures
