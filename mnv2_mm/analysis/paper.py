"""The cells of the paper's tables, and the config that each row is.

Quoted from arXiv 1801.04381 (Tables 4 to 7) and from the README of the official
release (Figure 5's grid, which the paper only draws). Nothing in this file was
measured or counted. The cells of Table 3 are in :mod:`mnv2_mm.analysis.table3`.

Where a cell and the count differ by more than a hundredth, the row's note
says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

PAPER = 'quoted from the paper'
RELEASE = 'quoted from the official release (tensorflow/models, README)'

#: What every row of a table has in common: title, unit of the accuracy.
TITLES = {
    '3': 'Table 3: the largest tensor of each resolution, 16 bits a value',
    '4': 'Table 4: ImageNet, 224 x 224',
    '5': 'Table 5: extra layers and predictors of SSD and SSDLite',
    '6': 'Table 6: COCO test-dev',
    '7': 'Table 7: PASCAL VOC 2012 validation, 513 x 513',
    'figure5': 'Figure 5: MobileNetV2 by width and resolution, ImageNet',
}
METRICS = {'4': 'top-1', '6': 'mAP', '7': 'mIOU', 'figure5': 'top-1'}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table."""

    table: str  # '4' to '7' or 'figure5'
    name: str  # as the paper has it
    config: str  # the file in configs/ that is this network
    params: float  # the paper's cells
    madds: float
    accuracy: float | None = None  # in percent
    source: str = PAPER
    # how the paper's multiply-adds come out, of complexity.CONVENTIONS
    convention: str = 'madds'
    norm: bool = True  # whether the paper's parameters include batch norm's
    parts: tuple[str, ...] = ()  # modules that the row is about; all if empty
    tta: bool = False  # whether the cost is the sum over test-time augmentation
    options: Mapping[str, object] = field(default_factory=dict)  # of the config
    note: str = ''  # why count and cell differ


_V1_MF, _RESNET_MF = (11.15, 941.9, 78.56), (58.16, 4870.6, 82.70)
#: Name, config, million parameters, multiply-adds (millions in Table 4, else
#: billions) and accuracy.
_CELLS = {
    '4': (
        ('MobileNetV1', 'mobilenet_v1', 4.2, 575, 70.6),
        ('ShuffleNet (1.5)', 'shufflenet_w150_g3', 3.4, 292, 71.5),
        ('ShuffleNet (x2)', 'shufflenet_w200_g3', 5.4, 524, 73.7),
        ('NasNet-A', 'nasnet_a_mobile', 5.3, 564, 74.0),
        ('MobileNetV2', 'mobilenet_v2', 3.4, 300, 72.0),
        ('MobileNetV2 (1.4)', 'mobilenet_v2_w140', 6.9, 585, 74.7),
    ),
    '5': (
        ('SSD', 'ssd_mobilenet_v2', 14.8, 1.25, None),
        ('SSDLite', 'ssdlite_mobilenet_v2', 2.1, 0.35, None),
    ),
    '6': (
        ('SSD300', 'ssd300_vgg16', 36.1, 35.2, 23.2),
        ('SSD512', 'ssd512_vgg16', 36.1, 99.5, 26.8),
        ('YOLOv2', 'yolov2', 50.7, 17.5, 21.6),
        ('MNet V1 + SSDLite', 'ssdlite_mobilenet_v1', 5.1, 1.3, 22.2),
        ('MNet V2 + SSDLite', 'ssdlite_mobilenet_v2', 4.3, 0.8, 22.1),
    ),
    '7': (
        ('MNet V1, OS 16, ASPP', 'mobilenet_v1_os16_aspp', 11.15, 14.25, 75.29),
        ('MNet V1, OS 8, ASPP, MF', 'mobilenet_v1_os8_aspp_msflip', *_V1_MF),
        ('MNet V2*, OS 16, ASPP', 'mobilenet_v2_os16_aspp', 4.52, 5.8, 75.70),
        ('MNet V2*, OS 8, ASPP, MF', 'mobilenet_v2_os8_aspp_msflip', 4.52, 387, 78.42),
        ('MNet V2*, OS 16', 'mobilenet_v2_os16', 2.11, 2.75, 75.32),
        ('MNet V2*, OS 8, MF', 'mobilenet_v2_os8_msflip', 2.11, 152.6, 77.33),
        ('ResNet-101, OS 16, ASPP', 'resnet101_os16_aspp', 58.16, 81.0, 80.49),
        ('ResNet-101, OS 8, ASPP, MF', 'resnet101_os8_aspp_msflip', *_RESNET_MF),
    ),
}
#: How the multiply-adds of some rows are counted; Table 7's are 's2b'.
_CONVENTIONS = {
    'MobileNetV1': 'madds+outputs',
    'SSDLite': 'flops',
    'SSD300': 's2b',
    'SSD512': 's2b',
    'MNet V1, OS 16, ASPP': 's2b+outputs',
    'MNet V1, OS 8, ASPP, MF': 's2b+outputs',
}
_ATROUS = (
    "The paper's figure has TF's atrous convolutions, which work on maps "
    'padded to multiples of the rate.'
)
_NOTES = {
    'MobileNetV1': '575M comes out (573.8M) with one operation more for each '
    'output value, a batch norm that is not folded; so it does in Table 7.',
    'ShuffleNet (1.5)': "292M is the ShuffleNet paper's figure; its network, g=3, "
    'counts 298.2M without the classifier and 299.6M with it.',
    'MobileNetV2': '3.47M, which the paper cuts to 3.4M; the official release '
    'states 3.47M.',
    'MobileNetV2 (1.4)': "The paper's 6.9M is an error: the official release "
    'states 6.06M and 582M for this network. 6.9M would fit width 1.5.',
    'SSDLite': 'This one cell of the paper is FLOPs, two per multiply-add; Table '
    "6's 0.8B has room for 0.18B only.",
    'SSD300': '36.1M is the size of SSD512, repeated in the paper. fc6 is atrous '
    "(rate 6): 35.2B is within 0.5 % with TF's SpaceToBatch.",
    'YOLOv2': "The paper's cells are two other networks: 50.7M is the released "
    'one with the 20 classes of VOC (50.655M), 17.5B an earlier one with 80 '
    'classes whose passthrough is not compressed to 64 channels (67.445M, '
    '17.501B). This config is the released COCO network, 14.73B at 416.',
    'MNet V2 + SSDLite': '0.789B, which the paper rounds to 0.8B. 81 class slots; '
    'the official release has 91 (4.501M).',
    'MNet V1, OS 16, ASPP': f'{_ATROUS} One operation more for each output, as in '
    'Table 4.',
    'MNet V1, OS 8, ASPP, MF': f'{_ATROUS} 941.9B is probably a misprint of '
    "991.9B: that comes out (991.91B), and fits the paper's own ratio to "
    'ResNet-101, 4.9.',
    'MNet V2*, OS 16, ASPP': _ATROUS,
    'MNet V2*, OS 8, ASPP, MF': _ATROUS,
    'ResNet-101, OS 16, ASPP': _ATROUS,
    'ResNet-101, OS 8, ASPP, MF': _ATROUS,
}

#: Resolutions of the columns below.
RESOLUTIONS = (224, 192, 160, 128, 96)
#: Width: million parameters, and at each resolution million multiply-adds
#: and top-1. README of the official release, read at commit 0ba83cf.
GRID = {
    1.4: (6.06, ((582, 75.0),)),
    1.3: (5.34, ((509, 74.4),)),
    1.0: (3.47, ((300, 71.8), (221, 70.7), (154, 68.8), (99, 65.3), (56, 60.3))),
    0.75: (2.61, ((209, 69.8), (153, 68.7), (107, 66.4), (69, 63.2), (39, 58.8))),
    0.5: (1.95, ((97, 65.4), (71, 63.9), (50, 61.0), (32, 57.7), (18, 51.2))),
    0.35: (1.66, ((59, 60.3), (43, 58.2), (30, 55.7), (20, 50.8), (11, 45.5))),
}
_CUT = 'The release cuts to whole millions. '
FIGURE_5 = tuple(
    Row(
        table='figure5',
        name=f'{width:g}, {resolution}',
        config=f'figure5/mobilenet_v2_w{width * 100:03.0f}_r{resolution:03d}.py',
        params=params * 1e6,
        madds=madds * 1e6,
        accuracy=accuracy,
        source=RELEASE,
        norm=False,
        # as released: with the background
        options={'model.head.num_classes': 1001},
        note=(_CUT if madds < 100 else '') + 'Counted with 1001 classes.',
    )
    for width, (params, points) in GRID.items()
    for resolution, (madds, accuracy) in zip(RESOLUTIONS, points, strict=False)
)

#: By the name that ``tools/paper_tables.py --table`` takes.
TABLES = {
    **{
        table: tuple(
            Row(
                table=table,
                name=name,
                config=f'table{table}/{config}.py',
                params=params * 1e6,
                madds=madds * (1e6 if table == '4' else 1e9),
                accuracy=accuracy,
                convention=_CONVENTIONS.get(name, 's2b' if table == '7' else 'madds'),
                norm=table != '4',
                parts=('neck', 'bbox_head') if table == '5' else (),
                tta='msflip' in config,
                note=_NOTES.get(name, ''),
            )
            for name, config, params, madds, accuracy in rows
        )
        for table, rows in _CELLS.items()
    },
    'figure5': FIGURE_5,
}
