"""What configs register around the model: optimizers, averages, hooks."""

from mnv2_mm.engine.averaged_model import TFExponentialMovingAverage
from mnv2_mm.engine.exact_resume import ExactResumeHook
from mnv2_mm.engine.fast_training import BFloat16OptimWrapper, ChannelsLastHook
from mnv2_mm.engine.finite_loss import FiniteLossHook
from mnv2_mm.engine.optimized_inference import OptimizedInferenceHook
from mnv2_mm.engine.optimizers import RMSpropTF
from mnv2_mm.engine.progress import ProgressHook
from mnv2_mm.engine.unfuse_conv_bn import UnfuseConvBNHook
from mnv2_mm.engine.visualizer import ResultVisualizer

__all__ = [
    'BFloat16OptimWrapper',
    'ChannelsLastHook',
    'ExactResumeHook',
    'FiniteLossHook',
    'OptimizedInferenceHook',
    'ProgressHook',
    'RMSpropTF',
    'ResultVisualizer',
    'TFExponentialMovingAverage',
    'UnfuseConvBNHook',
]
