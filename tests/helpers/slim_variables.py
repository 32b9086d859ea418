"""Random variables with the names of TF-slim, the Object Detection API and DeepLab."""

import numpy as np

CHANNELS = {  # stem, bottlenecks, last
    0.35: (16, (8, 8, 16, 24, 32, 56, 112), 1280),
    0.5: (16, (8, 16, 16, 32, 48, 80, 160), 1280),
    0.75: (24, (16, 24, 24, 48, 72, 120, 240), 1280),
    1.0: (32, (16, 24, 32, 64, 96, 160, 320), 1280),
    1.3: (40, (24, 32, 40, 80, 128, 208, 416), 1664),
    1.4: (48, (24, 32, 48, 88, 136, 224, 448), 1792),
    # DeepLab at width 0.5 does not round
    'deeplab 0.5': (16, (8, 12, 16, 32, 48, 80, 160), 640),
}
REPEATS = (1, 2, 3, 4, 3, 3, 1)


def conv(scope, kernel, n_in, n_out, *, norm=True):
    """Variables of a convolution, random.

    Values keep their size from layer to layer; else ReLU6 cuts nearly all of them off,
    and the last digit of one decides on the class.
    """
    rng = np.random.default_rng(len(scope) + n_in)
    depthwise = n_out is None
    n_out = n_in if depthwise else n_out
    shape = (kernel, kernel, n_in, 1 if depthwise else n_out)
    leaf = 'depthwise_weights' if depthwise else 'weights'
    fan_in = kernel**2 * (1 if depthwise else n_in)
    variables = {f'{scope}/{leaf}': rng.normal(size=shape) * (2 / fan_in) ** 0.5}
    if norm:
        for name in ('gamma', 'beta', 'moving_mean', 'moving_variance'):
            value = rng.uniform(0.5, 1.5, n_out)
            variables[f'{scope}/BatchNorm/{name}'] = value
    else:
        variables[f'{scope}/biases'] = rng.normal(size=n_out)
    return variables


def backbone(width=1.0, *, prefix='', last=True):
    """Every variable of TF-slim's MobilenetV2."""
    stem, bottlenecks, top = CHANNELS[width]
    scope = f'{prefix}MobilenetV2'
    found = conv(f'{scope}/Conv', 3, 3, stem)
    channels, block = stem, 0
    for stage, (repeats, out) in enumerate(zip(REPEATS, bottlenecks, strict=True)):
        for _ in range(repeats):
            name = f'{scope}/expanded_conv' + (f'_{block}' if block else '')
            middle = channels * (6 if stage else 1)
            if stage:
                found |= conv(f'{name}/expand', 1, channels, middle)
            found |= conv(f'{name}/depthwise', 3, middle, None)
            found |= conv(f'{name}/project', 1, middle, out)
            channels, block = out, block + 1
    if last:
        found |= conv(f'{scope}/Conv_1', 1, channels, top)
    return found


def classifier(width=1.0, classes=1001):
    channels = CHANNELS[width][2]
    logits = conv('MobilenetV2/Logits/Conv2d_1c_1x1', 1, channels, classes, norm=False)
    return backbone(width) | logits


def detector(slots=91, *, lite=True):
    """ssdlite_mobilenet_v2_coco of the Object Detection API, or ssd_mobilenet_v2_coco.

    The latter has full 3x3 convolutions, and 1x1 predictors.
    """
    start = 'FeatureExtractor/MobilenetV2/layer_19'
    found = backbone(prefix='FeatureExtractor/')
    channels = 1280
    for level, depth in enumerate((512, 256, 256, 128), start=2):
        half = depth // 2
        found |= conv(f'{start}_1_Conv2d_{level}_1x1_{half}', 1, channels, half)
        name = f'{start}_2_Conv2d_{level}_3x3_s2_{depth}'
        if lite:
            found |= conv(f'{name}_depthwise', 3, half, None)
        found |= conv(name, 1 if lite else 3, half, depth)
        channels = depth
    for level, n_in in enumerate((576, 1280, 512, 256, 256, 128)):
        anchors = 6 if level else 3
        for name, size in (('BoxEncoding', 4), ('Class', slots)):
            scope = f'BoxPredictor_{level}/{name}Predictor'
            if lite:
                found |= conv(f'{scope}_depthwise', 3, n_in, None)
            found |= conv(scope, 1, n_in, anchors * size, norm=False)
    return found


def segmentor(width=1.0, *, aspp=False):
    """DeepLab's mobilenet_v2 without a decoder."""
    top = CHANNELS[width][1][-1]
    found = backbone(width, last=False) | conv('image_pooling', 1, top, 256)
    found |= conv('aspp0', 1, top, 256)
    for branch in (1, 2, 3) if aspp else ():
        found |= conv(f'aspp{branch}', 3, top, 256)
    branches = 5 if aspp else 2
    found |= conv('concat_projection', 1, 256 * branches, 256)
    return found | conv('logits/semantic', 1, 256, 21, norm=False)
