"""Read and check model.json, and the files that it names.

The folder may come from a stranger. A schema of pydantic states what the rest of the
runtime relies on; json alone would leave every type to hand-written checks.
"""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mnv2_mm.utils.errors import InputError

#: Name of the description in the folder of an exported model.
JSON = 'model.json'
_AGAIN = 'export the model again with tools/deploy.py'
_LARGEST_JSON = 1 << 24  # bytes; 21,000 classes take 3 MB

_Text = Annotated[str, Field(max_length=1000)]
#: Of a file in the folder: no path, no drive, nothing hidden.
_Name = Annotated[str, Field(pattern=r'^\w[\w .()+-]*$', max_length=200)]
#: Pixels; bounds the memory that a description can ask for.
_Side = Annotated[int, Field(ge=1, le=4096)]
_Pair = tuple[_Side, _Side]
_Number = Annotated[float, Field(ge=-1e6, le=1e6)]
_Scale = Annotated[float, Field(ge=1e-6, le=1e6)]
_Byte = Annotated[int, Field(ge=0, le=255)]
_Kind = Literal['nearest', 'bilinear', 'bicubic', 'area']


class _Part(BaseModel):
    """An object of the file: no conversions, no NaN; unknown keys are left out."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


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
    name: _Text
    shape: tuple[_Side | None, Literal[3], _Side | None, _Side | None]


class _ToSize(_Part):
    do: Literal['resize', 'crop_middle']
    size: _Pair
    keep_ratio: bool = False
    interpolation: _Kind = 'bilinear'


class _ToSide(_Part):
    do: Literal['resize_short']
    side: _Side
    interpolation: _Kind


class _ToShare(_Part):
    do: Literal['crop_share', 'crop_square']
    share: Annotated[float, Field(gt=0, le=1)]


_Step = Annotated[_ToSize | _ToSide | _ToShare, Field(discriminator='do')]


class _Preprocessing(_Part):
    steps: Annotated[list[_Step], Field(max_length=20)]
    mean: tuple[_Number, _Number, _Number]
    std: tuple[_Scale, _Scale, _Scale]
    rgb: bool
    pad_to: _Pair | None
    pad_multiple: _Side
    pad_value: _Number


class _Ending(_Part):
    resize: bool
    argmax: bool
    align_corners: bool


class Description(_Part):
    """Content of model.json."""

    mnv2_mm: _Text = ''
    task: Literal['det', 'seg', 'cls']
    config: _Text | None = None
    backend: Literal['onnxruntime', 'ncnn', 'tensorrt', 'litert', 'openvino']
    precision: Literal['fp32', 'fp16', 'int8']
    files: Annotated[list[File], Field(min_length=1, max_length=9)]
    input: _Input  # (B, 3, H, W), None for a dynamic axis
    outputs: list[_Text]
    classes: Annotated[list[_Text], Field(min_length=1, max_length=100_000)]
    palette: list[tuple[_Byte, _Byte, _Byte]]
    preprocessing: _Preprocessing  # see .preprocess
    ending: _Ending | None = None  # of segmentation, see .masks

    @model_validator(mode='after')
    def _fits_together(self) -> 'Description':
        detects = self.outputs == ['dets', 'labels']
        if detects != (self.task == 'det') or len(self.outputs) != 1 + detects:
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
        raise InputError(text) from error


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
