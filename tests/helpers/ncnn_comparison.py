"""The same graph in onnxruntime and in ncnn, for the tests of the writer."""

import numpy as np
import onnxruntime as ort

from mnv2_mm.deploy.ncnn.write import write
from mnv2_mm.runtime.ncnn import Ncnn


def run_both(builder, model, folder, image=None):
    """Outputs of onnxruntime and of ncnn, by name."""
    image = builder.image() if image is None else image
    options = ort.SessionOptions()
    # its fusion of padding and pooling refuses valid graphs
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider']
    )
    names = [output.name for output in session.get_outputs()]
    wanted = session.run(names, {'x': image})
    paths = folder / 'a.param', folder / 'a.bin'
    write(model, *paths)
    found = Ncnn(paths).run(image)
    assert set(found) == set(names)
    return {n: (w, found[n]) for n, w in zip(names, wanted, strict=True)}


def assert_same(builder, model, folder, image=None):
    for wanted, found in run_both(builder, model, folder, image).values():
        assert found.shape == wanted.shape
        scale = max(1.0, float(np.abs(wanted).max(initial=0)))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * scale)
