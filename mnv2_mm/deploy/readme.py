"""Write README.txt of an exported model: what is in the folder, and how to run it.

For a person on the device, who has neither the repository nor its documentation at
hand. Programs read model.json, from which this text is made.
"""

from collections.abc import Mapping

from mnv2_mm.runtime.description import JSON

#: Name of the file.
README = 'README.txt'

_TASKS = {'det': 'Object detection', 'seg': 'Segmentation', 'cls': 'Classification'}
#: Package of the package index, where it has not the backend's name.
_PACKAGES = {'litert': 'ai-edge-litert'}
#: Shell line that predicts, in the folder.
SHELL = 'mnv2 run . photo.jpg --out drawn.jpg'
#: Python lines that predict, in the folder.
PYTHON = """\
import mnv2_mm
model = mnv2_mm.load('.')
for result in model.predict('photo.jpg'):
    print(result.to_json())
    result.save('out/')
"""
#: Shell lines that compile and run the C++ program, in the repository.
CPP = """\
apt-get install g++ cmake nlohmann-json3-dev
cmake -S examples/ncnn_cpp -B ncnn_cpp -DNCNN_DIR=NCNN
cmake --build ncnn_cpp
ncnn_cpp/mnv2_ncnn FOLDER photo.jpg
"""
_STEPS = {
    'resize': 'resize to {size}',
    'resize_short': 'resize the short side to {side}',
    'crop_middle': 'crop {size} from the middle',
    'crop_share': 'crop the middle, {share:g} of both sides',
    'crop_square': 'crop the middle square, {share:g} of the short side',
}


def readme(info: Mapping) -> str:
    """Text of README.txt.

    Args:
        info: Content of model.json.
    """
    backend, classes = info['backend'], len(info['classes'])
    title = f'{_TASKS[info["task"]]} for {backend} {info["precision"]}'
    package = _PACKAGES.get(backend, backend)
    parts = {
        f'Model {info["config"] or "without a name"}, classes: {classes}': [
            *(f'{f["name"]}  {f["bytes"]} bytes' for f in info['files']),
            f'{JSON}  all of this and more, for programs',
        ],
        'Run it without torch; MNV2_MM is a checkout of mnv2_mm, or its wheel': [
            f'pip install numpy opencv-python-headless {package} MNV2_MM',
            *(['python build_engine.py'] if backend == 'tensorrt' else []),
            SHELL,
        ],
        'Run it from Python': PYTHON.splitlines(),
    }
    if backend == 'ncnn':
        about = "in MNV2_MM; NCNN is the folder of ncnn's source"
        parts[f'Run it from C++, {about}'] = CPP.splitlines()
    parts['Input'] = _input(info)
    parts['Output'] = [line for output in info['outputs'] for line in _output(output)]
    if limits := info['thresholds']:
        place = 'in' if limits['in_graph'] else 'after'
        parts['Output'] += [
            f'{place} the graph: score over {limits["score_thr"]:g}, NMS at an IoU of '
            f'{limits["nms_iou"]:g}, at most {limits["max_per_img"]} boxes',
            f'for the client: show scores over {limits["shown_score_thr"]:g}',
        ]
    blocks = (
        '\n'.join([f'{head}:', *(f'  {line}' for line in lines)])
        for head, lines in parts.items()
    )
    return '\n\n'.join([title, *blocks]) + '\n'


def _input(info: Mapping) -> list[str]:
    spec = info['preprocessing']
    steps = []
    for step in spec['steps']:
        values = {k: _size(v) if k == 'size' else v for k, v in step.items()}
        text = _STEPS[step['do']].format(**values)
        if 'interpolation' in step and step['do'].startswith('resize'):
            text += f', {step["interpolation"]}'
        steps.append(text + ', aspect ratio kept' * step.get('keep_ratio', False))
    order = spec['color_order']
    swap = 'swap, as OpenCV reads BGR' if order == 'RGB' else 'as OpenCV reads it'
    shape = info['input']['shape']
    if info['input']['layout'] == 'NHWC':
        shape = [shape[0], *shape[2:], shape[1]]
    lines = [
        f'{info["input"]["name"]}: {info["input"]["dtype"]}, {_size(shape)}',
        *steps,
        f'{order} ({swap})',
        f'(pixel - {_numbers(spec["mean"])}) / {_numbers(spec["std"])}'
        + ', in the file' * (info['input']['dtype'] == 'uint8'),
    ]
    if spec['pad_to'] or spec['pad_multiple'] > 1:
        to = _size(spec['pad_to'] or ['multiples of ', spec['pad_multiple']])
        lines.append(f'pad right and bottom to {to}, value {spec["pad_value"]:g}')
    return lines


def _output(output: Mapping) -> list[str]:
    shape = _size(output['shape'])
    lines = [f'{output["name"]}: {shape}, {output["meaning"]}']
    if output['columns']:
        unit = output['box_unit'].replace('_', ' ')
        lines.append(f'  a row is {", ".join(output["columns"])}; boxes as {unit}')
    if output['first_label'] is not None:
        lines.append(f'  label {output["first_label"]} is the first class')
    return lines


def _size(shape: list) -> str:
    return 'x'.join('?' if side is None else str(side) for side in shape)


def _numbers(values: list[float]) -> str:
    """One number if the channels have the same, else all."""
    texts = [f'{value:g}' for value in values]
    return texts[0] if len(set(texts)) == 1 else f'({", ".join(texts)})'
