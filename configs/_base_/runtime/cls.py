# Runtime of the classification configs: hooks, environment, log, visualizer.
# Schedules (train_cfg, optim_wrapper, param_scheduler) are bases of their
# own; custom_hooks is left to them too, so that a recipe can add its EMA
# without repeating what every run needs.
default_scope = 'mmpretrain'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='mnv2_mm.AtomicCheckpointHook',
        interval=1,
        max_keep_ckpts=3,
        save_best='accuracy/top1',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False),
    guard=dict(type='mnv2_mm.CheckpointGuardHook'),
    exact_resume=dict(type='mnv2_mm.ExactResumeHook'),
    finite_loss=dict(type='mnv2_mm.FiniteLossHook'),
    progress=dict(type='mnv2_mm.ProgressHook'),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # tools/train.py and tools/test.py take gloo where there is no GPU.
    dist_cfg=dict(backend='nccl'),
)
# A fixed seed; --seed or another value here changes it, None draws one.
randomness = dict(seed=0, deterministic=False)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(
    type='UniversalVisualizer', vis_backends=vis_backends, name='visualizer'
)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'

load_from = None
resume = False
