"""What mmdet reads of a COCO file, as a schema of pydantic.

mmdet checks no type: text, NaN or a missing key ends in a traceback, in a loss
of NaN or in dropped annotations. pycocotools has no schema. pydantic parses
and checks COCO's training annotations in less time than ``json`` parses them.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr, TypeAdapter
from pydantic import ValidationError as SchemaError
from typing_extensions import NotRequired, TypedDict

from mnv2_mm.datasets.checks.source import Source, listed

Id = StrictInt | StrictStr  # mmdet only compares ids
# larger numbers overflow float32 in the loss
Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e12, le=1e12)]
Side = Annotated[Number, Field(gt=0)]
Flag = StrictBool | Literal[0, 1]
Box = Annotated[list[Number], Field(min_length=4, max_length=4)]
# pycocotools draws each pixel of an edge, and ends the process at 1e9
Point = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e6, le=1e6)]
Polygons = Annotated[
    list[Annotated[list[Point], Field(min_length=1)]], Field(min_length=1)
]
MASK = {'counts': StrictStr | list[StrictInt], 'size': tuple[StrictInt, StrictInt]}
IMAGE = {'id': Id, 'file_name': StrictStr, 'width': Side, 'height': Side}
CATEGORY = {'id': Id, 'name': StrictStr}
# the evaluation puts ids of annotations into an array of numbers
ANNOTATION = {'id': StrictInt, 'image_id': Id, 'category_id': Id, 'bbox': Box}
ANNOTATION |= dict(area=Number, iscrowd=NotRequired[Flag], ignore=NotRequired[Flag])
_TABLES = ('images', 'annotations', 'categories')
_REMEDIES = {
    'area': ' For boxes it is width * height.',
    'bbox': ' It is [x, y, width, height] in pixels.',
}


def parse_coco(text: str, source: Source) -> dict[str, list[dict]]:
    """Parse a COCO file, or record one message a kind of error and stop.

    Args:
        text: The content of the file.
        source: The data set; its pipeline and evaluators say what is read.

    Returns:
        'images', 'annotations' and 'categories', with the keys that mmdet reads.
    """
    annotation = dict(ANNOTATION)
    if any(step.get('with_mask') for step in source.pipeline):
        annotation['segmentation'] = Polygons | TypedDict('Mask', MASK)
    if any(evaluator.get('ann_file') for evaluator in source.evaluators):
        annotation['iscrowd'] = Flag  # pycocotools' evaluation requires it
    rows = list[TypedDict('Annotation', annotation)]
    tables = {
        'images': Annotated[list[TypedDict('Image', IMAGE)], Field(min_length=1)],
        'annotations': NotRequired[rows] if source.split == 'test' else rows,
        'categories': list[TypedDict('Category', CATEGORY)],
    }
    try:
        coco = TypeAdapter(TypedDict('Coco', tables)).validate_json(text)
    except SchemaError as error:
        source.stop(*_messages(error, source))
    coco.setdefault('annotations', [])
    source.stop(*_repeated_keys(text, coco, source), *_repeated_values(coco, source))
    return coco


def _messages(error: SchemaError, source: Source) -> Iterator[str]:
    """One message a kind of error: how many, where, and what would be right."""
    kinds = defaultdict(list)
    for entry in error.errors(include_url=False, include_context=False):
        kinds[entry['loc'][::2][:2], entry['type'] == 'missing'].append(entry)
    for (place, lacks), entries in kinds.items():
        found, why = entries[0]['input'], entries[0]['msg']
        if len(entries[0]['loc']) < 2:
            keys = f'; it has the keys {listed(found, 8) or None}' if lacks else ''
            yield (
                f'The annotation file {source.annotations} is not COCO JSON '
                f'({"".join(f"{name!r}: " for name in place)}{why}{keys}). It may be '
                'cut off, or of another format: write it again, as an object with the '
                f'lists {listed(_TABLES)}.'
            )
            continue
        table = place[0]
        rows = dict.fromkeys(f'{table}[{entry["loc"][1]}]' for entry in entries)
        what = f'have a wrong {place[-1]!r}' if place[1:] else 'are no objects'
        what += f' ({why}, not {json.dumps(found)[:40]})'
        yield (
            f'{source.annotations}: {len(rows)} entries in {table!r} '
            f'{f"lack the key {place[-1]!r}" if lacks else what}: {listed(rows)}.'
            f'{_REMEDIES.get(place[-1], "")}'
        )


def _repeated_keys(text: str, coco: dict, source: Source) -> Iterator[str]:
    """Keys that an object has twice: parsers keep the last value alone."""
    most = dict.fromkeys(_TABLES, 1)
    most |= dict.fromkeys(IMAGE.keys() - {'id'}, len(coco['images']))
    most |= dict.fromkeys(ANNOTATION.keys() - {'id'}, len(coco['annotations']))
    # a search of the text takes a hundredth of json's time
    if all(text.count(f'"{key}"') <= count for key, count in most.items()):
        return
    repeated: Counter[str] = Counter()

    def count(pairs: list[tuple[str, object]]) -> None:
        if len(dict(pairs)) < len(pairs):
            keys = Counter(key for key, _ in pairs)
            repeated.update(key for key in keys if keys[key] > 1)

    json.loads(text, object_pairs_hook=count)
    if repeated:
        found = listed(f'{key!r} ({number})' for key, number in repeated.items())
        yield (
            f'{source.annotations}: objects have the same key twice, of which one '
            f'value would be lost: {found}. Join the values, or remove one.'
        )


def _repeated_values(coco: dict, source: Source) -> Iterator[str]:
    """Ids, and names of categories, that are not unique."""
    for table, key in (*((table, 'id') for table in _TABLES), ('categories', 'name')):
        counts = Counter(row[key] for row in coco[table])
        repeated = [value for value, count in counts.items() if count > 1]
        if repeated:
            yield (
                f'{source.annotations}: {key}s in {table!r} are not unique: '
                f'{listed(repeated)}. Number the entries again, or join them.'
            )
