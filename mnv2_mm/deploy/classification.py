"""Export classification: mmdeploy's graph, which ends in the softmax."""

from mmdeploy.codebase.mmpretrain.deploy import Classification
from mmdeploy.codebase.mmpretrain.deploy.classification import MMPRETRAIN_TASK
from mmdeploy.utils import Task

from mnv2_mm.deploy.tasks import CheckedTask


@MMPRETRAIN_TASK.register_module(Task.CLASSIFICATION.value, force=True)
class CheckedClassification(CheckedTask, Classification):
    """mmdeploy's task for mmpretrain; see :class:`CheckedTask`."""
