"""tools/profile_step.py: shares of a training step."""

import re
from collections.abc import Callable

import pytest

pytest.importorskip('mmdet.models')


@pytest.mark.slow
def test_the_shares_are_of_the_whole(
    run_tool: Callable[..., int], capsys: pytest.CaptureFixture
) -> None:
    flags = ('--batch-size', '2', '--side', '160', '--steps', '1', '--threads', '1')
    assert run_tool('profile_step', *flags) == 0
    rows = re.findall(
        r'^(.+?) +(\d+) ms +(\d+)%$', capsys.readouterr().out, re.MULTILINE
    )
    shares = {kind: int(share) for kind, _, share in rows}
    assert sum(shares.values()) == pytest.approx(100, abs=6)  # each is rounded
    for kind in ('1x1', 'depthwise 3x3'):
        for direction in ('forward', 'backward'):
            assert f'{kind} convolution, {direction}' in shares
    assert shares['batch norm'] > 0 and 'ReLU6' in shares


def test_no_steps_are_refused(run_tool: Callable[..., int]) -> None:
    assert run_tool('profile_step', '--steps', '0') == 2
