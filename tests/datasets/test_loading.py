"""Broken images and wrong masks are refused by name."""

import traceback

import cv2
import mmcv
import numpy as np
import pytest
import torch.utils.data
from mmengine.dataset import BaseDataset
from mmengine.registry import TRANSFORMS
from PIL import ExifTags, Image

from mnv2_mm.datasets.transforms.loading import CheckSegMask, LoadImage, mask_problem
from mnv2_mm.runtime.image_files import loaded_size, problem_of, problem_of_file
from mnv2_mm.utils.errors import InputError, message_of


@pytest.fixture(scope='module')
def photo():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)


def encoded(photo, suffix='.jpg', options=()):
    return cv2.imencode(suffix, photo, options)[1].tobytes()


def with_thumbnail(data: bytes, thumbnail: bytes) -> bytes:
    """``data`` with an APP1 segment that holds another whole JPEG."""
    length = (len(thumbnail) + 2).to_bytes(2, 'big')
    return data[:2] + b'\xff\xe1' + length + thumbnail + data[2:]


@pytest.mark.parametrize(
    'options',
    [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)],
)
@pytest.mark.parametrize('tail', [b'', b'\0' * 9, b'\xff\xda phone data' * 900])
def test_whole_jpegs_pass(photo, options, tail, tmp_path):
    data = encoded(photo, options=options) + tail
    path = tmp_path / 'a.jpg'
    path.write_bytes(data)
    assert problem_of(data) is None
    assert problem_of_file(path) is None
    loaded = LoadImage()({'img_path': str(path)})
    assert (loaded['img'] == cv2.imread(str(path))).all()
    assert loaded['img_shape'] == loaded['ori_shape'] == (40, 60)


@pytest.mark.parametrize('orientation', [1, 3, 5, 8])
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp'])
def test_loaded_size_is_mmcvs(suffix, orientation, tmp_path):
    path = tmp_path / f'a.{suffix}'
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new('RGB', (60, 40)).save(path, exif=exif)
    for flag in ('color', 'grayscale', 'unchanged', 'color_ignore_orientation'):
        height, width = mmcv.imread(path, flag).shape[:2]
        assert loaded_size(path, color_type=flag) == (width, height)


def test_other_files_have_no_size(tmp_path):
    (tmp_path / 'a.jpg').write_text('hello')
    assert loaded_size(tmp_path / 'a.jpg') is None
    assert problem_of_file(tmp_path / 'a.jpg') is not None


@pytest.mark.parametrize('thumbnail', [False, True])
@pytest.mark.parametrize('progressive', [0, 1])
@pytest.mark.parametrize('share', [0.01, 0.3, 0.6, 0.9, 0.999])
def test_cut_off_jpegs_are_noticed(photo, share, progressive, thumbnail):
    options = (cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    data = encoded(photo, options=options)
    if thumbnail:
        data = with_thumbnail(data, encoded(photo[:8, :8]))
    assert problem_of(data) is None
    cut = max(2, int(len(data) * share))
    assert 'cut off' in problem_of(data[:cut])


def test_cut_off_png_is_noticed(photo, tmp_path):
    data = encoded(photo, '.png')
    assert problem_of(data) is None
    assert problem_of(data + b'\0\0') is None
    for cut in (len(data) // 2, len(data) - 1):
        assert 'cut off' in problem_of(data[:cut])
        (tmp_path / 'mask.png').write_bytes(data[:cut])
        assert 'cut off' in problem_of_file(tmp_path / 'mask.png')


BROKEN = {
    'missing': (None, 'missing.*data_prefix'),
    'empty': (b'', 'empty.*Fetch this file again'),
    'web page': (b'<!DOCTYPE html><p>404', 'a web page.*Fetch this file'),
    'git lfs': (b'version https://git-lfs.github.com/', 'git lfs pull'),
    'zip': (b'PK\x03\x04abc', 'a zip archive'),
    'noise': (b'\x07\x01\x02' * 30, r'cannot be decoded by cv2.*x07'),
    'jpeg header': (b'\xff\xd8\xff\xe0', 'cut off'),
}


@pytest.mark.parametrize('case', BROKEN)
@pytest.mark.filterwarnings('ignore')
def test_broken_files_are_named(case, tmp_path):
    data, expected = BROKEN[case]
    path = tmp_path / 'bird.jpg'
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=f'(?s)bird.jpg .*{expected}'):
        LoadImage()({'img_path': str(path)})
    assert LoadImage(ignore_empty=True)({'img_path': str(path)}) is None
    assert problem_of_file(path) is not None


def test_truncated_photo_in_a_data_loader_worker(photo, tmp_path):
    path = tmp_path / 'half.jpg'
    data = encoded(photo)
    path.write_bytes(data[: len(data) // 2])
    dataset = Photos(path)
    loader = torch.utils.data.DataLoader(dataset, num_workers=1)
    with pytest.raises(InputError) as caught:
        next(iter(loader))
    message = message_of(caught.value)
    assert message.startswith(f'image {path} is a JPEG that is cut off')
    assert 'Traceback' not in message and 'Fetch this file' in message
    # ends the worker here; left to the garbage collector it takes five seconds
    traceback.clear_frames(caught.tb)


class Photos(BaseDataset):
    def __init__(self, path):
        self.path = path
        super().__init__(pipeline=[LoadImage()])

    def load_data_list(self):
        return [{'img_path': str(self.path)}]


def test_options_of_mmcv(photo, tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(encoded(photo, '.png'))
    load = LoadImage(to_float32=True, imdecode_backend='pillow')
    image = load({'img_path': str(path)})['img']
    assert image.dtype == np.float32 and (image == photo).all()
    gray = LoadImage(color_type='grayscale')({'img_path': str(path)})['img']
    assert gray.shape[:2] == (40, 60) and gray.size == 40 * 60


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg', 'mmpretrain'])
def test_found_from_every_host(scope):
    registry = pytest.importorskip(f'{scope}.registry').TRANSFORMS
    assert isinstance(registry.build({'type': 'mnv2_mm.LoadImage'}), LoadImage)
    check = {'type': 'mnv2_mm.CheckSegMask', 'num_classes': 3}
    assert isinstance(registry.build(check), CheckSegMask)
    assert TRANSFORMS.get('LoadImage') is None  # nothing in the root


def index_mask(*values):
    mask = np.zeros((8, 6), np.uint8)
    mask[0, : len(values)] = values
    return mask


@pytest.mark.parametrize(
    ('mask', 'expected'),
    [
        (index_mask(1, 3, 9), r'labels 3, 9; allowed are 0 to 2 .*Map the'),
        (index_mask(*range(3, 9)), 'labels 3, 4, 5, 6, 7, 8;'),
        (index_mask(1)[:4], 'is 6x4, its image 6x8.*nearest neighbor'),
        (np.zeros((8, 6, 3), np.uint8), 'color image.*mode L or P'),
    ],
)
def test_bad_masks_are_named(mask, expected):
    results = {'gt_seg_map': mask, 'seg_map_path': 'masks/cat.png', 'ori_shape': (8, 6)}
    with pytest.raises(InputError, match=f'mask masks/cat.png .*{expected}'):
        CheckSegMask(3)(results)


def test_black_and_white_mask_says_how_to_rewrite_it():
    problem = mask_problem(index_mask(255), 2, ignore_index=254)
    assert 'mask[mask == 255] = 1' in problem


@pytest.mark.parametrize('values', [(0, 1, 2), (0, 255), (2, 255)])
def test_good_masks_pass(values):
    results = {'gt_seg_map': index_mask(*values), 'ori_shape': (8, 6)}
    assert CheckSegMask(3)(results) is results


def test_without_a_mask_everything_passes():
    results = {'img': np.zeros((2, 2, 3))}
    assert CheckSegMask(3)(results) is results
