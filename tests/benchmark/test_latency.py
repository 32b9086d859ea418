"""Times of the networks of the model zoo."""

import numpy as np
import pytest

from mnv2_mm.analysis.model_zoo import markdown
from mnv2_mm.benchmark.latency import measure
from mnv2_mm.checkpoints.hub import listed_models


@pytest.mark.slow
def test_a_network_is_timed_and_the_table_says_how():
    entry = next(e for e in listed_models() if e['Name'] == 'mobilenet_v2_w035_r096')
    lines = []
    found = measure([entry], np.zeros((90, 120, 3), np.uint8), progress=lines.append)
    default, optimized = found['milliseconds'][entry['Name']]
    assert default > 0 and optimized > 0 and len(lines) == 1
    assert f'| {default} | {optimized} |' in markdown(found, [entry])
    assert found['environment']['processor'] in markdown(found, [entry])
