"""SSDLite against mmdet's own: a training step, a prediction, its last part.

Both get the same pictures, boxes and number of classes, random weights, and
mmdet's settings as shipped on their side.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
from mmcv.cnn.utils import fuse_conv_bn
from mmcv.transforms import Compose
from mmdet.apis import inference_detector
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures import DetDataSample
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from mmengine.hub import get_config as hub_config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from torch import nn

from mnv2_mm import compat
from mnv2_mm.apis import init_model, predict
from mnv2_mm.benchmark.pairs import Contestant
from mnv2_mm.config_files import get_config

OURS, CLASSES, SIDE = 'ssdlite_mnv2_coco', 80, 320
#: mmdet's, by its name in the installed package.
PEER = 'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'


def peer_config() -> Config:
    """mmdet's config of its built-in SSDLite, without pretrained weights."""
    compat.mend_ssd_head()
    return hub_config(PEER)


def _built(cfg: Config) -> nn.Module:
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def _batch(size: int) -> dict:
    """Pictures with three objects each, as a data loader gives them."""
    rng = np.random.default_rng(0)
    inputs, samples = [], []
    for _ in range(size):
        pixels = rng.integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
        inputs.append(torch.from_numpy(pixels))
        corner = rng.uniform(0, SIDE / 2, (3, 2))
        extent = rng.uniform(30, SIDE / 2, (3, 2))
        boxes = np.concatenate([corner, corner + extent], axis=1)
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(SIDE, SIDE),
                ori_shape=(SIDE, SIDE),
                scale_factor=(1.0, 1.0),
                pad_shape=(SIDE, SIDE),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            labels=torch.tensor(rng.integers(0, CLASSES, 3)),
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def _training(
    config: Callable[[], Config],
    batch_size: int,
    *,
    channels_last: bool = False,
    half: bool = False,
) -> Callable[[], Callable[[], object]]:
    """One step: preprocessing, forward, backward, update."""

    def prepare() -> Callable[[], object]:
        model = _built(config()).train()
        if channels_last:
            model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)
        batch = _batch(batch_size)

        def step() -> None:
            data = model.data_preprocessor(batch, True)
            with torch.autocast('cpu', torch.bfloat16, enabled=half):
                losses = model(**data, mode='loss')
            loss, _ = model.parse_losses(losses)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        return step

    return prepare


def training_step(batch_size: int = 8) -> list[Contestant]:
    """Forward, backward and update of a batch at 320."""
    names = {
        'channels last': dict(channels_last=True),
        'channels last, bfloat16': dict(channels_last=True, half=True),
    }
    ours = functools.partial(get_config, OURS)
    return [
        Contestant('mmdet, as shipped', _training(peer_config, batch_size)),
        Contestant('mnv2_mm', _training(ours, batch_size)),
        *(
            Contestant(f'mnv2_mm, {name}', _training(ours, batch_size, **how))
            for name, how in names.items()
        ),
    ]


def _photo() -> np.ndarray:
    """A picture of 640x480 with some structure, BGR."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((32, 32, 1), np.uint8))


def one_photo() -> list[Contestant]:
    """Array in, boxes out, through each side's public function."""

    def theirs() -> Callable[[], object]:
        cfg = peer_config()
        model = _built(cfg).eval()
        model.cfg = cfg
        steps = get_test_pipeline_cfg(cfg)
        steps[0].type = 'mmdet.LoadImageFromNDArray'
        pipeline, photo = Compose(steps), _photo()
        return lambda: inference_detector(model, photo, test_pipeline=pipeline)

    def ours() -> Callable[[], object]:
        model, photo = init_model(OURS), _photo()
        return lambda: predict(model, photo)

    def ours_fused() -> Callable[[], object]:
        model, photo = fuse_conv_bn(init_model(OURS)), _photo()
        model.to(memory_format=torch.channels_last)
        return lambda: predict(model, photo)

    return [
        Contestant("mmdet's inference_detector", theirs),
        Contestant('mnv2_mm.apis.predict', ours),
        Contestant('mnv2_mm.apis.predict, fused, channels last', ours_fused),
    ]


def decoding() -> list[Contestant]:
    """Logits and codes to 200 boxes, 80 classes, an untrained head."""
    model = init_model(OURS)
    head = model.bbox_head
    head.test_cfg.max_per_img = 200
    torch.manual_seed(0)
    with torch.no_grad():
        maps = head(model.extract_feat(torch.randn(1, 3, SIDE, SIDE)))
    meta = dict(img_shape=(SIDE, SIDE), scale_factor=(0.5, 2 / 3))
    common = dict(batch_img_metas=[meta], rescale=True)

    def of(function: Callable) -> Callable[[], Callable[[], object]]:
        def run() -> None:
            with torch.no_grad():
                function(head, *maps, cfg=head.test_cfg, **common)

        return lambda: run

    return [
        Contestant(
            "mmdet's predict_by_feat", of(BaseDenseHead.predict_by_feat)
        ),
        Contestant('mnv2_mm', of(type(head).predict_by_feat)),
    ]
