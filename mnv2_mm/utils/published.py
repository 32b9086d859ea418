"""List the published networks, from the metafiles that model-index.yml names.

No heavy imports: a program that predicts by a cached export needs no torch.
"""

from collections.abc import Iterator
from typing import NamedTuple

import yaml

from mnv2_mm.utils.cli import repository_root

#: Prefix that names a published network as a checkpoint.
SCHEME = 'mnv2_mm://'


class Published(NamedTuple):
    """A trained network that its authors published."""

    name: str
    config: str
    url: str
    file: str
    #: 'sha256:...' or 'sha384:...', '' where the publisher states none.
    digest: str
    license: str


def listed_models() -> Iterator[dict]:
    """Entries of all metafiles, in the order of model-index.yml."""
    for name in _yaml('model-index.yml')['Import']:
        yield from _yaml(name)['Models']


def _yaml(name: str) -> dict:
    """Content of a file; the parser in C, if it is there, takes a tenth of the time."""
    text = (repository_root() / name).read_text(encoding='utf-8')
    return yaml.load(text, getattr(yaml, 'CSafeLoader', yaml.SafeLoader))


def published_models() -> dict[str, Published]:
    """All published networks by name."""
    models = {}
    for entry in listed_models():
        if 'Source' not in entry:
            continue  # an example that a user trains
        source, url = entry['Source'], entry['Weights']
        models[entry['Name']] = Published(
            entry['Name'],
            entry['Config'].removeprefix('configs/').removesuffix('.py'),
            url,
            source.get('File') or url.rpartition('/')[2],
            source.get('Digest', ''),
            source['License'],
        )
    return models
