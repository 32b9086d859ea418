"""The rows of Tables 5 and 6: counts, sizes, and SSD512 after its backbone.

Their training step and prediction are in test_tables.py.
"""

import pytest
import torch
from config_files import build, load, meta_model
from mmengine.structures import InstanceData
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip('mmdet.models')

from mmdet.structures import DetDataSample

#: Input side, parameters (BN counted) and multiply-adds of each row, counted
#: with independent implementations. Table 5 leaves out the backbone.
COUNTED = {
    'table5/ssd_mobilenet_v2': (320, 14.777e6, 1.259e9),
    'table5/ssdlite_mobilenet_v2': (320, 2.113e6, 0.1776e9),
    'table6/ssd300_vgg16': (300, 34.305e6, 34.36e9),
    'table6/ssd512_vgg16': (512, 36.038e6, 98.63e9),
    'table6/yolov2': (416, 50.963e6, 14.73e9),
    'table6/ssdlite_mobilenet_v1': (320, 5.101e6, 1.309e9),
    'table6/ssdlite_mobilenet_v2': (320, 4.337e6, 0.789e9),
}
SSD512 = 'table6/ssd512_vgg16'
#: Relative to the image; the sizes meet anchors of several levels.
OBJECTS = ((0.3, 0.2, 0.9, 0.8), (0.05, 0.5, 0.5, 0.95), (0.1, 0.1, 0.25, 0.25))


def batch(size, counts):
    """Images of (height, width) with that number of objects each."""
    height, width = size
    scale = torch.tensor([width, height, width, height])
    samples = []
    for index, count in enumerate(counts):
        samples.append(
            DetDataSample(
                gt_instances=InstanceData(
                    bboxes=torch.tensor(OBJECTS)[:count] * scale,
                    labels=torch.arange(count) % 2,
                ),
                metainfo=dict(
                    img_shape=size,
                    ori_shape=size,
                    pad_shape=size,
                    scale_factor=(1.0, 1.0),
                    img_path=f'{index}.jpg',
                    img_id=index,
                ),
            )
        )
    images = torch.randint(0, 256, (len(counts), 3, *size))
    return dict(inputs=list(images.byte()), data_samples=samples)


def train_and_predict(model, size, counts):
    """One step that moves the weights, then boxes within the image."""
    data = model.data_preprocessor(batch(size, counts), True)
    loss, _ = model.parse_losses(model.train()(**data, mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    for name, parameter in model.backbone.named_parameters():
        assert parameter.grad.any(), name
        assert torch.isfinite(parameter.grad).all(), name
    # a predictor of a level that got no object may stay without
    assert any(
        p.grad is not None and p.grad.any() for p in model.bbox_head.parameters()
    )
    torch.optim.SGD(model.parameters(), 1e-4).step()
    model.test_cfg.score_thr = model.bbox_head.test_cfg.score_thr = 1e-8
    with torch.no_grad():
        results = model.eval()(**data, mode='predict')
    for result in results:
        found = result.pred_instances
        assert 0 < len(found) <= model.test_cfg.max_per_img
        assert torch.isfinite(found.bboxes).all()
        assert found.labels.max() < model.bbox_head.num_classes


@pytest.mark.parametrize(
    'name',
    [
        # test_paper_tables.py has the same numbers in the fast tests
        n if n == SSD512 else pytest.param(n, marks=pytest.mark.slow)
        for n in COUNTED
    ],
)
def test_counts(name):
    side, parameters, multiply_adds = COUNTED[name]
    model = meta_model(name)
    with torch.device('meta'):
        with FlopCounterMode(display=False) as whole:
            model(torch.empty(1, 3, side, side), mode='tensor')
        counted = sum(p.numel() for p in model.parameters())
        macs = whole.get_total_flops() / 2
        if name.startswith('table5'):
            with FlopCounterMode(display=False) as backbone:
                model.backbone(torch.empty(1, 3, side, side))
            counted -= sum(p.numel() for p in model.backbone.parameters())
            macs -= backbone.get_total_flops() / 2
    assert counted == pytest.approx(parameters, rel=0.005)
    assert macs == pytest.approx(multiply_adds, rel=0.005)


@pytest.mark.parametrize('name', COUNTED)
def test_images_have_the_size_of_the_row(name):
    side = COUNTED[name][0]
    cfg = load(name)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        pipeline = cfg[loader].dataset.pipeline
        scales = [step.scale for step in pipeline if step.type.endswith('Resize')]
        assert scales == [(side, side)], loader
        assert cfg[loader].dataset.type == 'CocoDataset'
    text = str(cfg.to_dict())
    assert 'open-mmlab://' not in text and 'RepeatDataset' not in text


@pytest.mark.parametrize('table', ['table5', 'table6'])
def test_the_row_of_the_paper_is_the_primitive(table):
    """Which tests/configs/test_det.py trains."""
    primitive = load('ssdlite_mnv2_coco').model
    assert load(f'{table}/ssdlite_mobilenet_v2').model == primitive


class _Maps(torch.nn.Module):
    """Stands for VGG16 at 512: its two maps, made of the images."""

    def __init__(self):
        super().__init__()
        self.convs = torch.nn.ModuleList(
            [torch.nn.Conv2d(3, 512, 1), torch.nn.Conv2d(3, 1024, 1)]
        )

    def forward(self, x):
        small = torch.nn.functional.avg_pool2d(x, 8)
        smaller = torch.nn.functional.avg_pool2d(small, 2)
        return self.convs[0](small), self.convs[1](smaller)


def test_ssd512_after_its_backbone_trains_a_step_and_predicts():
    """Its own neck, anchors and predictors; the backbone is SSD300's."""
    cfg = load(SSD512)
    assert cfg.model.backbone == load('table6/ssd300_vgg16').model.backbone
    cfg.model.backbone = dict(type='mnv2_mm.MobileNetV2')
    model = build(cfg)
    model.backbone = _Maps()
    model.init_weights()
    train_and_predict(model, (512, 512), [3])
