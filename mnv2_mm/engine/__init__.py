"""What the recipes need around the model: optimizer, average, hooks."""

from mnv2_mm.engine.averaged_model import TFExponentialMovingAverage
from mnv2_mm.engine.checkpoint_guard import CheckpointGuardHook
from mnv2_mm.engine.fast_inference import FastInferenceHook
from mnv2_mm.engine.half_precision import BFloat16OptimWrapper
from mnv2_mm.engine.memory_format import ChannelsLastHook
from mnv2_mm.engine.optimizers import RMSpropTF
from mnv2_mm.engine.progress import ProgressHook
from mnv2_mm.engine.unfold import UnfoldBatchNormHook

__all__ = [
    'BFloat16OptimWrapper',
    'ChannelsLastHook',
    'CheckpointGuardHook',
    'FastInferenceHook',
    'ProgressHook',
    'RMSpropTF',
    'TFExponentialMovingAverage',
    'UnfoldBatchNormHook',
]
