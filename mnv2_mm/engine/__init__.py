"""What the recipes need around the model: optimizer, average, hooks."""

from mnv2_mm.engine.averaged_model import TFExponentialMovingAverage
from mnv2_mm.engine.bfloat16_optim import BFloat16OptimWrapper
from mnv2_mm.engine.fast_inference import FastInferenceHook
from mnv2_mm.engine.memory_format import ChannelsLastHook
from mnv2_mm.engine.optimizers import RMSpropTF
from mnv2_mm.engine.progress import ProgressHook
from mnv2_mm.engine.unfuse_conv_bn import UnfuseConvBNHook

__all__ = [
    'BFloat16OptimWrapper',
    'ChannelsLastHook',
    'FastInferenceHook',
    'ProgressHook',
    'RMSpropTF',
    'TFExponentialMovingAverage',
    'UnfuseConvBNHook',
]
