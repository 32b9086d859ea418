"""Evaluate on some of the images, spread evenly over the data set."""

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner

from mnv2_mm.utils.config import evaluation_dataset
from mnv2_mm.utils.errors import InputError


def subset_dataset(cfg: Config, count: int) -> None:
    """Reduce the test data set of a config to ``count`` images.

    They are spread evenly, as data sets of classes are sorted by class.

    Raises:
        InputError: fewer than one are asked for.
    """
    if count < 1:
        raise InputError(f'--limit is {count}; give the number of images')
    init_default_scope(cfg.default_scope)
    dataset = evaluation_dataset(cfg)
    total = len(DATASETS.build(dataset))
    if count < total:
        places = np.linspace(0, total - 1, count).round().astype(int)
        dataset['indices'] = places.tolist()


def limit_metrics(runner: Runner) -> None:
    """Tell COCO's metric which images there are.

    It would count the others as images on which nothing was found.
    """
    dataset = runner.test_loop.dataloader.dataset
    for metric in runner.test_evaluator.metrics:
        if getattr(metric, '_coco_api', None) is not None:
            metric.img_ids = [
                dataset.get_data_info(i)['img_id'] for i in range(len(dataset))
            ]
