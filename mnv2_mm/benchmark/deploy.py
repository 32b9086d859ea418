"""Builds against PyTorch, and 8-bit builds against Google's TFLite files.

The detector has random weights with the spread of a trained one; the 8-bit
networks are converted from the very TFLite files that they are compared with,
and end as those end. All are calibrated with generated photos: good for
times, not for accuracy.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from mnv2_mm.api import init_model, prepare
from mnv2_mm.benchmark.pairs import PAUSE, Contestant, Part
from mnv2_mm.benchmark.peers import OURS, SIDE
from mnv2_mm.benchmark.photos import photo
from mnv2_mm.checkpoints.hub import checkpoint_of, fetch, published_models
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.utils import compat
from mnv2_mm.utils.config import config_root
from mnv2_mm.utils.errors import InputError

_PICTURES = 8  # that batch norm and calibration see
_DEVIATION, _MEAN = 2.0, -6.0  # of the class logits of the detector
#: The end of Google's segmentation file, which the builds get too.
_ENDING = {
    'codebase_config.with_resize': True,
    'codebase_config.with_argmax': True,
}
Make = Callable[[], Callable[[], object]]


def parts(args: argparse.Namespace) -> Iterator[Part]:
    """What `tools/benchmark.py deploy` measures."""
    from mnv2_mm.deploy import require

    require()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), args.threads)
        for title, contestants in _PARTS.items():
            found = bench.available(contestants(bench))
            if len(found) > 1:
                yield Part(title, found, repeats=5, pause=PAUSE)
            else:
                print(f'left out: {title}: fewer than two can be run')


class Bench:
    """Makes builds in a folder, and what runs them.

    Args:
        folder: Where the builds go.
        threads: Of every backend.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder, self.threads = folder, threads
        self.image = str(folder / 'photo.png')
        cv2.imwrite(self.image, photo(0))

    def available(self, makes: Mapping[str, Make]) -> list[Contestant]:
        """Those that can be run here; of the others a line says why not."""
        found = []
        for name, make in makes.items():
            try:
                run = make()
            except InputError as error:
                print(f'left out: {name}: {error}', flush=True)
                continue
            found.append(Contestant(name, lambda run=run: run))
        return found

    def build(
        self, deploy: str, config: str, checkpoint: str, **options: object
    ) -> Callable[[], object]:
        """Make a build; returns a run of its network on a photo.

        Args:
            deploy: Name of a file of configs/deploy.
            config: Name of the model config.
            checkpoint: Its weights.
            options: Overrides of the deploy config, dots written as in it.
        """
        from mnv2_mm.deploy.export import Making, network_input

        deploy_cfg = Config.fromfile(config_root() / f'deploy/{deploy}.py')
        deploy_cfg.merge_from_dict(options)
        folder = self.folder / deploy
        folder.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of the hosts about scopes
            making = Making(deploy_cfg, config, checkpoint, self.image)
            inputs = network_input(making)[1].numpy()
            making.write(folder, calibration=[inputs])
        network = ExportedModel(folder, threads=self.threads).network
        return lambda: network(inputs)


# ------------------------------------------------------------- detection
def detector(bench: Bench) -> dict[str, Make]:
    """PyTorch as it comes, and the float builds of the same weights."""
    model = spread_detector()
    checkpoint = bench.folder / 'detector.pth'
    meta = {'dataset_meta': model.dataset_meta}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, checkpoint)

    def eager() -> Callable[[], object]:
        data = prepare(model, photo(0))
        inputs = pixels(model, [data])

        def run() -> object:
            with torch.no_grad():
                samples = [data['data_samples'].clone()]
                return model(inputs, samples, mode='predict')

        return run

    def build(backend: str) -> Make:
        name = f'det_{backend}_static'
        return lambda: bench.build(name, OURS, str(checkpoint))

    return {
        'PyTorch, eager': eager,
        'onnxruntime fp32': build('onnxruntime'),
        'ncnn fp32': build('ncnn'),
    }


def pixels(model: nn.Module, data: Sequence[Mapping]) -> torch.Tensor:
    """Network input (B, 3, H, W) of what the test pipeline gives."""
    batch = {key: [one[key] for one in data] for key in ('inputs', 'data_samples')}
    with torch.no_grad():
        return model.data_preprocessor(batch, False)['inputs']


def spread_detector() -> nn.Module:
    """The detector with random weights, its scores spread like trained ones.

    As it is initialized, all pairs of anchor and class have the same score,
    and its NMS nothing in common with that of a trained one.
    """
    torch.manual_seed(0)
    # mmdeploy has made a logger of its own the current one
    MMLogger.get_current_instance().setLevel('WARNING')
    model = init_model(OURS)
    images = [photo(seed) for seed in range(_PICTURES)]
    inputs = pixels(model, [prepare(model, image) for image in images])
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # the mean of what follows
            module.train()
    head = model.bbox_head
    with torch.no_grad():
        head(model.extract_feat(inputs))
        model.eval()
        logits, _ = head(model.extract_feat(inputs))
        for predictor, level in zip(head.cls_convs, logits, strict=True):
            predictor[-1].weight.mul_(_DEVIATION / level.std())
            predictor[-1].bias.fill_(_MEAN)
    return model


# ------------------------------------------------- eight bits and TFLite
def classifier(bench: Bench) -> dict[str, Make]:
    """MobileNetV2 1.0 of the ImageNet network."""
    return _eight_bits(bench, 'mnv2_in1k', 'cls_{}_int8_static')


def segmentor(bench: Bench) -> dict[str, Make]:
    """Mobile DeepLabv3 of VOC."""
    return _eight_bits(bench, 'deeplabv3_mnv2_voc', 'seg_{}_int8_static_513', **_ENDING)


def _eight_bits(
    bench: Bench, name: str, deploy: str, **options: object
) -> dict[str, Make]:
    """A published TFLite file, and 8-bit builds of its network."""
    published = published_models()[name]

    def build(backend: str) -> Make:
        return lambda: bench.build(
            deploy.format(backend),
            published.config,
            str(checkpoint_of(published)),
            **options,
        )

    return {
        'TFLite (XNNPACK)': lambda: tflite(fetch(published), bench.threads),
        'onnxruntime int8': build('onnxruntime'),
        'ncnn int8': build('ncnn'),
    }


def tflite(path: Path, threads: int) -> Callable[[], object]:
    """A run of a TFLite file.

    Raises:
        InputError: ai-edge-litert is not installed.
    """
    if not compat.installed('ai_edge_litert'):
        raise InputError(
            'TFLite files are run by ai-edge-litert, which is missing: pip '
            'install ai-edge-litert'
        )
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (what,) = interpreter.get_input_details()
    size = tuple(int(side) for side in what['shape'][2:0:-1])
    image = cv2.resize(photo(0), size)[None].astype(what['dtype'])
    interpreter.set_tensor(what['index'], image)
    return interpreter.invoke


_PARTS = {
    f'SSDLite, {SIDE} px, 80 classes, tensor in, boxes out': detector,
    'classification, 224 px, 8 bits': classifier,
    'Mobile DeepLabv3, 513 px, 8 bits, with argmax': segmentor,
}
