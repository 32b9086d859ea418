"""A damaged COCO file is refused, or mmdet reads it and its boxes are finite."""

import copy
import json
import math

import pytest
from file_mutations import mutations
from hypothesis import strategies as st
from mmengine.config import Config

from mnv2_mm.datasets.checks.preflight import check
from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set
from mnv2_mm.utils.errors import InputError

datasets = pytest.importorskip('mmdet.datasets')
CLASSES = ('circle', 'square', 'triangle', 'star', 'ring')


class Twin(str):
    """A key that can stand beside an equal one."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__


SPECIAL = st.sampled_from(
    [0, -1, True, '1', '', '../a.jpg', '/a.jpg', 1e300, 10**400, math.nan, math.inf]
)
SCALAR = SPECIAL | st.none() | st.integers() | st.floats() | st.text(max_size=5)
VALUE = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(['id', 'size', 'counts', 'x']), inner)
    ),
    max_leaves=5,
)


def places(node):
    """(container, key) of each value below ``node``."""
    keys = range(len(node)) if isinstance(node, list) else list(node)
    for key in keys if isinstance(node, list | dict) else ():
        yield node, key
        if isinstance(node[key], list | dict):
            yield from places(node[key])


@st.composite
def files(draw, valid):
    """Bytes of a COCO file with one to three changes."""
    content = copy.deepcopy(valid)
    for _ in range(draw(st.integers(0, 3))):
        found = list(places(content))
        if not found:
            break
        # tables first: a row is as likely as its values
        node, key = draw(st.sampled_from(found))
        kind = draw(st.sampled_from(['replace', 'replace', 'drop', 'repeat', 'move']))
        if kind == 'replace':
            node[key] = draw(VALUE)
        elif kind == 'drop':
            del node[key]
        elif kind == 'move':
            other, place = draw(st.sampled_from(found))
            node[key] = copy.deepcopy(
                other.get(place) if isinstance(other, dict) else 0
            )
        elif isinstance(node, dict):
            node[Twin(key)] = draw(VALUE)
        else:
            node.append(copy.deepcopy(node[key]))
    data = json.dumps(content, ensure_ascii=draw(st.booleans())).encode()
    return draw(st.one_of(st.just(data), st.just(data), mutations(data)))


@pytest.fixture(scope='module')
def sample(tmp_path_factory):
    root = tmp_path_factory.mktemp('coco') / 'sample'
    write_sample_set(root, SampleSettings(train=2, val=1))
    return root


@pytest.mark.parametrize('with_mask', [False, True])
def test_coco_files(fuzz, sample, with_mask):
    """Also with masks, where segmentations are read."""
    path = sample / 'annotations/train.json'
    valid = json.loads(path.read_text())
    valid['annotations'] = valid['annotations'][:3]
    for row in valid['annotations']:
        row['segmentation'] = [[1, 1, 9, 1, 9, 9]]
    steps = [dict(type='LoadImageFromFile')]
    steps.append(
        dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=with_mask)
    )
    entry = dict(
        data_root=str(sample),
        ann_file='annotations/damaged.json',
        data_prefix=dict(img='images/train/'),
        metainfo=dict(classes=CLASSES),
        pipeline=steps,
    )
    cfg = Config(dict(default_scope='mmdet'))
    cfg.train_dataloader = dict(dataset=dict(type='CocoDataset', **entry))

    def run(data):
        (sample / 'annotations/damaged.json').write_bytes(data)
        try:
            check(cfg, splits=['train'])
        except InputError:
            return
        # serializing collects garbage for a second
        loaded = datasets.CocoDataset(**entry, serialize_data=False)
        for i in range(len(loaded)):
            results = loaded[i]
            assert results['gt_bboxes'].tensor.isfinite().all()
            assert set(results['gt_bboxes_labels']) <= set(range(len(CLASSES)))
            assert not with_mask or len(results['gt_masks']) == len(
                results['gt_bboxes']
            )

    run(json.dumps(valid).encode())
    fuzz(run, files(valid))
