"""Numbers and figures of the paper, computed from the code here.

Parameters and multiply-adds (:mod:`~mnv2_mm.analysis.complexity`), memory of
activations (:mod:`~mnv2_mm.analysis.memory`, sections 4.1 and 5.1 of the
paper), the paper's own cells (:mod:`~mnv2_mm.analysis.paper`), and what its
figures show. Nothing here is needed to train or to predict.
"""
