"""The order of ImageNet's WordNet ids, and the numbers of its development kit.

mmpretrain has the names of the classes, not their WordNet ids.
"""

from importlib.util import find_spec
from pathlib import Path

from mnv2_mm.utils.errors import InputError

#: Classes of ImageNet-1k.
COUNT = 1000


def synsets(root: Path) -> list[str]:
    """The 1000 WordNet ids in the order of the classes."""
    spec = find_spec('timm')
    places = [root / 'imagenet_synsets.txt']
    if spec and spec.origin:  # a data file; the package is not imported
        places.append(Path(spec.origin).parent / 'data/_info/imagenet_synsets.txt')
    path = next((place for place in places if place.is_file()), None)
    found = path.read_text(encoding='utf-8').splitlines() if path else []
    ids = [line.split()[0] for line in found if line.strip()]
    if len(set(ids)) != COUNT:
        raise InputError(
            f'the order of the WordNet ids is not known ({len(ids)} in '
            f'{path or "no file"}): pip install timm, or write the 1000 ids in the '
            f'order of the classes to {places[0]}'
        )
    return ids


def devkit_ids(listing: Path, root: Path) -> dict[str, str]:
    """WordNet id of each number of the development kit."""
    places = [listing.parent / 'meta.mat', root / 'meta.mat', root / 'data/meta.mat']
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise InputError(
            f'the numbers in {listing} are those of the development kit, which are in '
            f'another order than the classes: put its meta.mat to {places[0]}'
        )
    try:
        from scipy.io import loadmat

        rows = loadmat(path, squeeze_me=True)['synsets']
        pairs = zip(rows['ILSVRC2012_ID'], rows['WNID'], strict=True)
        return {str(int(number)): str(wnid) for number, wnid in pairs}
    except ImportError as error:
        raise InputError(f'{path} needs scipy: pip install scipy') from error
    except Exception as error:  # of a damaged file
        raise InputError(f'{path} is no meta.mat of the development kit') from error
