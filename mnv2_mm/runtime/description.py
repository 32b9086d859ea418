"""Read and check model.json, and the files that it names.

The folder may come from a stranger. A schema of pydantic states what the rest of the
runtime relies on; json alone would leave every type to hand-written checks.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mnv2_mm.utils.errors import InputError

#: Name of the description in the folder of an exported model.
JSON = 'model.json'
_AGAIN = 'export the model again with tools/export.py'
_LARGEST_JSON = 1 << 24  # bytes; 21,000 classes take 3 MB

_Text = Annotated[str, Field(max_length=1000)]
#: Of a file in the folder: no path, no drive, nothing hidden.
_Name = Annotated[str, Field(pattern=r'^\w[\w .()+-]*$', max_length=200)]
#: Pixels; bounds the memory that a description can ask for.
LARGEST_SIDE = 4096
_Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
_Pair = tuple[_Side, _Side]
_Number = Annotated[float, Field(ge=-1e6, le=1e6)]
_Scale = Annotated[float, Field(ge=1e-6, le=1e6)]
_Byte = Annotated[int, Field(ge=0, le=255)]
_Kind = Literal['nearest', 'bilinear', 'bicubic', 'area']
_Column = Literal['label', 'score', 'x0', 'y0', 'x1', 'y1']


class _Part(BaseModel):
    """An object of the file: no conversions, no NaN; unknown keys are left out."""

    model_config = ConfigDict(
        strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class File(_Part):
    """A file of the folder, as it was exported."""

    name: _Name
    bytes: Annotated[int, Field(ge=0, le=1 << 31)]
    sha256: Annotated[str, Field(pattern='^[0-9a-f]{64}$')]

    @classmethod
    def of(cls, path: Path) -> 'File':
        """Describe a file."""
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        return cls.model_construct(name=path.name, bytes=len(data), sha256=digest)

    def check(self, folder: Path) -> None:
        """Raise an InputError unless the folder has this very file."""
        path = _plain_file(folder, self.name)
        # the size first: it costs nothing, and bounds what is read
        if path.stat().st_size != self.bytes or File.of(path) != self:
            raise InputError(
                f'{path} is not the file that {JSON} describes; copy the whole folder '
                f'again, or {_AGAIN}'
            )


class _Input(_Part):
    """The network input; ``preprocessing`` says how an image becomes one."""

    name: _Text
    """Name of the blob or tensor in the file."""
    shape: tuple[_Side | None, Literal[3], _Side | None, _Side | None]
    """(B, 3, H, W), null for a dynamic axis; ncnn has no batch axis."""
    layout: Literal['NCHW', 'NHWC'] = 'NCHW'
    """Order of the axes in the file: with NHWC it takes (B, H, W, 3)."""
    dtype: Literal['float32', 'uint8'] = 'float32'
    """With uint8 the file takes pixels as they are: it applies mean and std itself."""


class _Output(_Part):
    """An output of the network, as the backend itself returns it."""

    name: _Text
    """Name of the blob or tensor in the file."""
    shape: list[Annotated[int, Field(ge=1, le=1 << 31)] | None] = []
    """As the backend returns it (ncnn: without a batch axis), null for a free axis."""
    columns: Annotated[list[_Column], Field(max_length=9)] = []
    """Detection: values of the last axis in their order, one row per box."""
    first_label: Annotated[int, Field(ge=0, le=1)] | None = None
    """Number that stands for the first entry of ``classes``, where labels are given."""
    box_unit: Literal['input_fraction', 'input_pixel'] | None = None
    """Boxes from 0 to 1 of the network input, or in its pixels. To get pixels of the
    image: first pixels of the input, then times the image's width (height) divided by
    the width (height) of that part of the input that is not padding."""
    meaning: _Text = ''
    """In words."""


class _Thresholds(_Part):
    """Detection: what the graph has applied already, and what is left to the client."""

    in_graph: bool = True
    """Whether the graph applies the three below. If not, its outputs are what enters
    the NMS per class: ``boxes`` (B, N, 4) and ``scores`` (B, N, C)."""
    score_thr: _Number
    """Boxes have a higher score."""
    nms_iou: _Number
    """Of two boxes of one class that overlap more, the better is kept."""
    max_per_img: Annotated[int, Field(ge=1, le=1 << 20)]
    """At most that many boxes."""
    shown_score_thr: _Number = 0.3
    """For the client: the score from which the tools of this project show a box."""


class _ToSize(_Part):
    do: Literal['resize', 'crop_middle']
    size: _Pair
    """Width and height."""
    keep_ratio: bool = False
    """Resize to the largest size of the same aspect ratio within ``size``, its sides
    rounded to the nearest pixel."""
    interpolation: _Kind = 'bilinear'
    """As in OpenCV's resize: pixel centers at halves, no antialiasing but for area."""


class _ToSide(_Part):
    do: Literal['resize_short']
    side: _Side
    """The short side's new length; the other side is rounded down."""
    interpolation: _Kind


class _ToShare(_Part):
    do: Literal['crop_share', 'crop_square']
    share: Annotated[float, Field(gt=0, le=1)]
    """crop_share: of both sides, around the middle. crop_square: of the short side."""


_Step = Annotated[_ToSize | _ToSide | _ToShare, Field(discriminator='do')]


class _Preprocessing(_Part):
    """From an image of 8 bits to the network input, in the order of these keys."""

    steps: Annotated[list[_Step], Field(max_length=20)]
    """First, on the image of 8 bits."""
    color_order: Literal['RGB', 'BGR']
    """Of the network input's channels. OpenCV reads BGR: swap the channels for RGB."""
    mean: tuple[_Number, _Number, _Number]
    """(pixel - mean) / std for each channel, in the color order above."""
    std: tuple[_Scale, _Scale, _Scale]
    pad_to: _Pair | None
    """Width and height after padding at the right and the bottom; null for none."""
    pad_multiple: _Side
    """Then pad to a multiple of this, at the right and the bottom."""
    pad_value: _Number
    """Of the padding, after the division by std."""


class _Ending(_Part):
    """Segmentation: what the graph has done of the way from logits to a mask.

    The whole way: resize the logits to the network input, remove the padding, resize
    to the image, take the class of the largest logit; both resizes are bilinear.
    """

    resize: bool
    """Whether the graph has resized to the network input."""
    argmax: bool
    """Whether the graph has taken the best class; resize it by nearest neighbor."""
    align_corners: bool
    """Whether the bilinear resizes map corner pixels onto corner pixels."""


class Description(_Part):
    """Content of model.json: what a program needs to run an exported model."""

    format: Literal[2]
    """Raised when older programs would misread the file."""
    mnv2_mm: _Text = ''
    """Version that exported the model."""
    task: Literal['det', 'seg', 'cls']
    config: _Text | None = None
    """Name of the model config."""
    backend: Literal['onnxruntime', 'ncnn', 'tensorrt', 'litert', 'openvino']
    precision: Literal['fp32', 'fp16', 'int8']
    options: dict[_Text, bool | int | float | _Text] = {}
    """Settings of the backend under which the model was compared with PyTorch, by the
    backend's own names."""
    files: Annotated[list[File], Field(min_length=1, max_length=9)]
    input: _Input
    outputs: Annotated[list[_Output], Field(min_length=1, max_length=9)]
    thresholds: _Thresholds | None = None
    classes: Annotated[list[_Text], Field(min_length=1, max_length=100_000)]
    palette: list[tuple[_Byte, _Byte, _Byte]]
    """RGB of each class, for drawing."""
    preprocessing: _Preprocessing
    ending: _Ending | None = None

    @model_validator(mode='after')
    def _fits_together(self) -> 'Description':
        detects = any(output.columns for output in self.outputs)
        if detects != (self.task == 'det') or not (detects or len(self.outputs) == 1):
            raise ValueError(f'outputs are not those of the task {self.task}')
        names = {file.name for file in self.files}
        if len(names) < len(self.files) or (self.backend == 'ncnn' and len(names) != 2):
            raise ValueError(f'files are not those of the backend {self.backend}')
        if len(self.palette) != len(self.classes):
            raise ValueError('palette and classes differ in length')
        if (self.ending is None) == (self.task == 'seg'):
            raise ValueError('a segmentor, and no other model, has "ending"')
        return self


def _plain_file(folder: Path, name: str) -> Path:
    """Path of a file of the folder, which must not be a link to another place."""
    path = folder / name
    if not path.is_file() or path.is_symlink():
        raise InputError(
            f'{folder} lacks {name}, or has only a link; copy the whole folder'
        )
    return path


def parse(text: str | bytes, source: object = JSON) -> Description:
    """Check the text of a model.json; ``source`` names it in messages.

    Raises:
        InputError: it is no JSON, or a value is not what an export writes.
    """
    try:
        return Description.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ''.join(f'{key}: ' for key in first['loc'])[:80]
        text = f'{source} is not valid: {where}{first["msg"]}; {_AGAIN}'
        if first['loc'] == ('format',):
            text = f'{source} is of another version of mnv2_mm; {_AGAIN}'
        raise InputError(text) from error


def schema() -> str:
    """The JSON schema of model.json, as in docs/model_schema.json."""
    return json.dumps(Description.model_json_schema(), indent=1) + '\n'


def check_size(found: Sequence[int], wanted: Sequence[int | None]) -> None:
    """Compare the shape of a network input (B, 3, H, W) with that in model.json.

    Raises:
        InputError: rows or columns differ. ncnn would compute something wrong.
    """
    if any(b not in (None, a) for a, b in zip(found[2:], wanted[2:], strict=True)):
        height, width = (side or 'any' for side in wanted[2:])
        raise InputError(
            f'an image becomes a network input of {found[3]}x{found[2]}, and the '
            f'exported model takes {width}x{height}; export it with a dynamic deploy '
            'config, or with a test pipeline that resizes to a fixed size'
        )


def output_names(info: Mapping) -> list[str]:
    """Names of what a backend's wrapper returns, whatever the file calls its own."""
    if info['task'] == 'det':
        return ['dets', 'labels']
    return [output['name'] for output in info['outputs']]


def find(place: str | os.PathLike) -> Path | None:
    """Folder of the exported model that a folder or one of its files names."""
    place = Path(place)
    folder = place if place.is_dir() else place.parent
    known = place.is_dir() or place.suffix not in ('.pth', '.pt')
    return folder if known and (folder / JSON).is_file() else None


def read_info(place: str | os.PathLike) -> tuple[Path, dict]:
    """The folder of an exported model, and the content of its model.json.

    Every file that it names has been compared with its size and SHA-256 (50 ms for
    14 MB on one core), so a backend never sees a damaged one.

    Raises:
        InputError: no model.json, a damaged one, one of a version before the digests,
            or a file that it names is missing or another one.
    """
    folder = find(place)
    if folder is None:
        raise InputError(f'{place} is no exported model, as it has no {JSON}; {_AGAIN}')
    path = _plain_file(folder, JSON)
    if path.stat().st_size > _LARGEST_JSON:
        raise InputError(f'{path} is too large for a description; {_AGAIN}')
    info = parse(path.read_bytes(), path)
    for file in info.files:
        file.check(folder)
    return folder, info.model_dump()
