"""Figures 1, 6 and 7: their numbers by hand, and the tools that draw."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from mnv2_mm.analysis import figure1, figure6
from mnv2_mm.analysis.figure7 import LayerShare, measure
from mnv2_mm.models.ablations import MobileNetV2Ablation
from mnv2_mm.models.mobilenet_v2 import MobileNetV2
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError

Tool = Callable[..., int]


# -- figure 1 ----------------------------------------------------------------
def test_without_relu_everything_comes_back() -> None:
    x = figure1.spiral()
    for n in figure1.DIMENSIONS:
        found = figure1.embed(x, n, seed=3, relu=False)
        np.testing.assert_allclose(found.points, x, atol=1e-10)
        assert found.error < 1e-10


def test_relu_takes_less_from_more_dimensions() -> None:
    x = figure1.spiral(500)
    found = [
        [figure1.embed(x, n, seed=seed) for seed in range(60)]
        for n in (*figure1.DIMENSIONS, 1000)
    ]
    error = [np.mean([e.error for e in many]) for many in found]
    assert error == sorted(error, reverse=True)
    # 1000 directions average to half of x, which the scale makes good
    assert error[-1] < 0.07
    kept = [np.mean([e.kept for e in many]) for many in found]
    # two half planes meet in a quarter of the plane on average; of n random
    # signs two or more are positive with 1 - (n + 1) / 2**n
    by_chance = [1 - (n + 1) / 2**n for n in figure1.DIMENSIONS]
    assert kept[:5] == pytest.approx(by_chance, abs=0.05)


def test_two_dimensions_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """T = 1 folds three quadrants onto the edges of the fourth."""

    class Identity:
        def standard_normal(self, shape: tuple) -> np.ndarray:
            return np.eye(*shape)

    monkeypatch.setattr(np.random, 'default_rng', lambda _: Identity())
    x = np.array([[1.0, 2], [-1, 2], [-1, -2], [1, -2]])
    found = figure1.embed(x, 2)
    np.testing.assert_allclose(found.points, [[1, 2], [0, 2], [0, 0], [1, 0]])
    assert found.kept == 0.25
    # x . x' = |x'|^2 = 10 of |x|^2 = 20
    assert found.error == pytest.approx(np.sqrt(10 / 20))


def test_one_dimension_is_refused() -> None:
    with pytest.raises(InputError, match='1 dimensions cannot hold a plane'):
        figure1.embed(figure1.spiral(), 1)


# -- figure 7 and Lemma 2 ----------------------------------------------------
def test_shares_by_hand() -> None:
    share = LayerShare(layer=3, inputs=1, channels=4)
    tensor = torch.tensor(
        [[[0.0, 1.0, 6.0]], [[0.0, 2.0, 0.0]], [[0.0, 6.0, 0.0]], [[0.0] * 3]]
    )
    share.add(tensor.permute(1, 0, 2)[:, :, None])  # (1, 4, 1, 3)
    # positive channels at the three positions: 0, 3 and 1 of 4
    assert share.positions == 3
    assert share.mean == pytest.approx((0 + 0.75 + 0.25) / 3)
    assert share.deviation == pytest.approx(np.std([0, 0.75, 0.25]))
    assert (share.least, share.most) == (0, 0.75)
    assert share.invertible == 2  # one positive channel suffices
    assert share.open == 1  # the third position's only one is cut at 6


def test_lemma_2_where_channels_are_forced() -> None:
    """Biases put exactly n, or n - 1, of the 6 n channels above zero."""
    net = MobileNetV2(0.35, ('layer_5',))
    blocks = {3: net.layer2[0], 4: net.layer2[1], 5: net.layer3[0]}
    for layer, positive in ((3, 8), (4, 7), (5, 48)):
        norm = blocks[layer].expand_conv.bn
        nn.init.zeros_(norm.weight)
        norm.bias.data.fill_(-1)
        norm.bias.data[:positive] = 1
    before = {k: v.clone() for k, v in net.state_dict().items()}
    shares = measure(net, [torch.rand(2, 3, 32, 32)], batch_statistics=True)
    assert [s.layer for s in shares] == [3, 4, 5]
    assert [(s.inputs, s.channels) for s in shares] == [(8, 48)] * 3
    assert [s.mean for s in shares] == pytest.approx([8 / 48, 7 / 48, 1])
    assert [s.deviation for s in shares] == pytest.approx([0, 0, 0], abs=1e-6)
    assert [s.invertible / s.positions for s in shares] == [1, 0, 1]
    # layers 3 to 5 read 16 x 16, 8 x 8 and 8 x 8 positions of two images
    assert [s.positions for s in shares] == [512, 128, 128]
    # measuring changes nothing
    assert net.training
    after = net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(m._forward_hooks for m in net.modules())


def test_random_start_has_half_of_the_channels_positive() -> None:
    torch.manual_seed(0)
    net = MobileNetV2(0.5)
    net.init_weights()
    shares = measure(net, [torch.rand(4, 3, 64, 64)], batch_statistics=True)
    assert [s.layer for s in shares] == list(range(3, 19))
    assert [s.mean for s in shares] == pytest.approx([0.5] * 16, abs=0.08)


# -- figure 6 ----------------------------------------------------------------
def records(**top1: list[float]) -> dict:
    """Records whose curves end at ``top1``, a value a seed."""
    runs = [
        dict(variant=variant, seed=seed, top1=[[10, 1.0], [20, value]], final_loss=1.0)
        for variant, values in top1.items()
        for seed, value in enumerate(values)
    ]
    return dict(title='test', runs=runs)


def test_gap_is_taken_seed_by_seed() -> None:
    found = figure6.gap(
        records(paper=[50.0, 60.0, 70.0], none=[49.0, 58.0, 67.0]), 'none'
    )
    assert (found.mean, found.above, found.seeds) == (2.0, 3, 3)
    assert found.margin == pytest.approx(4.30 / np.sqrt(3))
    # only seeds that both have
    found = figure6.gap(records(paper=[50.0, 60.0], none=[51.0]), 'none')
    assert (found.mean, found.seeds, found.above) == (-1.0, 1, 0)
    assert figure6.gap(records(none=[1.0]), 'none') is None


@pytest.mark.parametrize(
    ('none', 'verdict'),
    [
        ([40.0, 50.0, 60.0], ": the paper's order"),
        ([60.0, 70.0, 80.0], ": against the paper's order"),
        ([60.0, 50.0, 71.0], ': no order beyond the spread of the seeds'),
        ([40.0], ': one seed shows no order'),
    ],
)
def test_summary_claims_what_the_seeds_allow(none: list, verdict: str) -> None:
    none = [x + 0.1 * i for i, x in enumerate(none)]
    text = figure6.summary(records(paper=[50.0, 60.0, 70.0], none=none))
    assert text.endswith(verdict)
    assert f'{np.mean(none):.2f}' in text


@pytest.mark.parametrize(
    'change',
    [
        {'title': None},
        {'seed': None},
        {'final_loss': None},
        {'top1': [1, 2]},
        {'top1': []},
        {'variant': ['paper']},
    ],
)
def test_records_that_are_not_whole_are_refused(tmp_path: Path, change: dict) -> None:
    """None leaves a key out."""
    content = records(paper=[50.0])
    for key, value in change.items():
        part = content if key in content else content['runs'][0]
        if value is None:
            del part[key]
        else:
            part[key] = value
    (tmp_path / figure6.RECORDS).write_text(json.dumps(content))
    with pytest.raises(InputError, match=figure6.RECORDS):
        figure6.read_records(tmp_path)


# -- the tools ---------------------------------------------------------------
def assert_image(path: Path) -> None:
    image = cv2.imread(str(path))
    assert image is not None
    assert image.std() > 5  # something is drawn


def test_figures_1_and_6_are_written(run_tool: Tool, tmp_path: Path) -> None:
    (tmp_path / 'figure6.json').write_text(
        json.dumps(records(paper=[50.0, 60.0], relu6=[40.0, 45.0], none=[9.0]))
    )
    out = tmp_path / 'out'
    code = run_tool('figures', '--figure', 1, 6, '--runs', tmp_path, '--out', out)
    assert code == 0
    assert_image(out / 'figure1.png')
    assert_image(out / 'figure6.png')


def test_figure_7_of_a_start_and_a_training(
    run_tool: Tool,
    trained: Callable[[str], tuple[Path, Path]],
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    config, weights = trained('cls')
    arguments = ['figures', '--figure', 7, '--config', config]
    code = run_tool(*arguments, '--weights', weights, '--num', 3, '--out', tmp_path)
    assert code == 0
    text = capsys.readouterr().out
    assert '(a) at step 0, 3 images' in text
    assert '(b) after training, 3 images' in text
    assert text.count('   18   56 -> 336') == 2
    assert_image(tmp_path / 'figure7.png')
    # images of other sizes, one of them no image
    image = sorted((tiny_data / 'images').rglob('*.jpg'))[0]
    assert run_tool(*arguments, '--images', image, '--out', tmp_path) == 0
    assert run_tool(*arguments, '--images', config, '--out', tmp_path) == 2
    assert f'{config} cannot be read as an image' in capsys.readouterr().err


def test_a_missing_image_is_named_before_networks_are_built(
    run_tool: Tool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr('mnv2_mm.api.init_model', None)
    flags = ['--config', 'mnv2_sample', '--images', tmp_path / 'no.jpg']
    assert run_tool('figures', '--figure', 7, *flags, '--out', tmp_path) == 2
    error = capfd.readouterr().err
    assert str(tmp_path / 'no.jpg') in error
    assert 'imread' not in error  # OpenCV's own warning


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--figure', 6], 'give --runs'),
        (['--figure', 6, '--runs', '{tmp}'], 'figure6.json is not there'),
        (['--figure', 6, '--runs', '{tmp}/bad'], 'holds no records'),
        (['--figure', 7], 'needs --config'),
        (['--figure', 7, '--config', 'mnv2_simple'], 'mnv2_sample'),
        (['--figure', 1, '--seed', -1], '--seed is -1'),
        (['--figure', 1, '--out', '{tmp}/bad/x'], 'not a directory'),
    ],
)
def test_bad_input_is_one_message(
    run_tool: Tool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    arguments: list,
    message: str,
) -> None:
    (tmp_path / 'bad').write_text('{"runs": 3}')
    filled = [str(a).replace('{tmp}', str(tmp_path)) for a in arguments]
    if '--out' not in filled:
        filled += ['--out', str(tmp_path / 'out')]
    assert run_tool('figures', *filled) == 2
    error = capsys.readouterr().err
    assert message in error
    assert 'Traceback' not in error


@pytest.fixture
def experiment(tiny_data: Path) -> list[object]:
    """Arguments of the smallest experiment."""
    folder = tiny_data.as_posix()
    return [
        'figure6_experiment',
        '--seeds',
        1,
        '--epochs',
        2,
        '--input-size',
        32,
        '--cfg-options',
        'model.backbone.widen_factor=0.35',
        'param_scheduler.LinearLR.end=2',
        *(
            f'{split}_dataloader.{key}'
            for split in ('train', 'val')
            for key in (
                'num_workers=0',
                'persistent_workers=False',
                'batch_size=8',
                f'dataset.data_root={folder}',
            )
        ),
    ]


@pytest.mark.slow
def test_experiment_trains_once_and_resumes(
    run_tool: Tool,
    experiment: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    more = ['--variants', 'relu6', '--out', tmp_path]
    assert run_tool(*experiment, *more) == 0
    (run,) = figure6.read_records(tmp_path)['runs']
    assert (run['variant'], run['seed']) == ('relu6', 0)
    assert len(run['top1']) == 2
    assert 0 <= run['top1'][-1][1] <= 100
    assert '--seed 0' in run['command']
    # what was trained is the variant
    (dumped,) = (tmp_path / 'relu6_seed0').glob('*.py')
    backbone = get_config(dumped).model.backbone
    assert backbone.pop('_scope_', None) is None
    assert backbone.pop('type') == 'mnv2_mm.MobileNetV2Ablation'
    assert type(MobileNetV2Ablation(**backbone).layer2[0].bottleneck_act) is nn.ReLU6
    # again: nothing is trained, the same comes out
    stamp = (tmp_path / 'relu6_seed0/result.json').stat().st_mtime_ns
    assert run_tool(*experiment, *more) == 0
    assert figure6.read_records(tmp_path)['runs'] == [run]
    assert (tmp_path / 'relu6_seed0/result.json').stat().st_mtime_ns == stamp
    # other settings do not mix
    assert run_tool(*experiment, *more, '--epochs', 3) == 2
    assert 'train_cfg.max_epochs=3' in capsys.readouterr().err


def test_experiment_that_failed_at_its_start_may_be_changed(
    run_tool: Tool,
    experiment: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    class Failed:
        def __init__(self, command: list[str]) -> None:
            assert command[1].endswith('train.py')

        def wait(self) -> int:
            return 2

    monkeypatch.setattr('mnv2_mm.analysis.trainings.subprocess.Popen', Failed)
    more = ['--out', tmp_path]
    for option in ('model.misspelt=1', 'model.right=1'):
        assert run_tool(*experiment, option, *more) == 2
        error = capsys.readouterr().err
        assert 'paper_seed0 ended with 2' in error
        assert 'goes on' not in error
    (tmp_path / 'paper_seed0').mkdir()
    (tmp_path / 'paper_seed0/epoch_1.pth').touch()
    assert run_tool(*experiment, option, *more) == 2
    assert 'goes on from here' in capsys.readouterr().err
    assert run_tool(*experiment, 'model.other=1', *more) == 2
    assert 'model.other=1' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--epochs', 0], 'give 1 or more'),
        (['--input-size', 16], 'give 32 or more'),
        (['--seeds', 0], 'give 1 or more'),
    ],
)
def test_experiment_refuses_what_cannot_be(
    run_tool: Tool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    arguments: list,
    message: str,
) -> None:
    out = tmp_path / 'out'
    assert run_tool('figure6_experiment', *arguments, '--out', out) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
