"""The record of every tensor of a file and of a network."""

import pytest
from toy_runner import Toy

from mnv2_mm.checkpoints import WeightReport


def test_compare_finds_each_kind_of_difference() -> None:
    weights = Toy(classes=5).state_dict()
    weights['extra'] = weights.pop('backbone.0.bias')
    own = Toy(classes=3).state_dict()
    found = WeightReport.compare(weights, own, source='a.pth')
    assert found.reshaped == {
        'head.weight': ((5, 4), (3, 4)),
        'head.bias': ((5,), (3,)),
    }
    assert found.missing == ['backbone.0.bias']
    assert found.unused == ['extra']
    assert found.share('backbone.') == pytest.approx(5 / 6)
    assert not found.exact
    assert WeightReport.compare(own, own, source='a.pth').exact


def test_what_does_not_match_is_named() -> None:
    report = WeightReport(
        'a.pth',
        'torchvision',
        matched={f'backbone.{i}': f'features.{i}' for i in range(7)},
        reshaped={'head.weight': ((5, 4), (3, 4))},
        missing=['neck.0.weight'],
        unused=['classifier.bias'],
    )
    for text in (str(report), report.table()):
        assert 'torchvision' in text
        for name in ('neck.0.weight', 'head.weight', '(5, 4)', '(3, 4)'):
            assert name in text
        assert 'classifier.bias' in text
    assert 'features.6' in report.table()
    assert 'backbone 7' in report.summary()
    assert '1 unused, 1 missing, 1 of another shape' in report.summary()


def test_what_is_no_weight_is_a_line_for_each_reason() -> None:
    report = WeightReport(
        'graph.pb',
        set_aside={f'Const_{i}': 'constants of the graph' for i in range(759)}
        | {'global_step': 'int64, no float'},
    )
    lines = report.table().splitlines()[1:]
    assert len(lines) == 2
    assert 'constants of the graph (759): Const_0' in lines[0]
    assert 'global_step' in lines[1]
    assert '760 no weights' in report.summary()
