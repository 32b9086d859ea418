"""What the networks cost: the counts behind the paper's tables.

Parameters and multiply-adds (:mod:`~mnv2_mm.analysis.complexity`), memory of
activations (:mod:`~mnv2_mm.analysis.memory`, sections 4.1 and 5.1 of the
paper), and the paper's own cells (:mod:`~mnv2_mm.analysis.paper`). Nothing
here is needed to train or to predict.
"""
