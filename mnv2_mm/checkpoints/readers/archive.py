"""Find the frozen graph in an archive, ``.tar.gz`` or ``.tgz``, as Google publishes it.

The one member is read into memory; nothing is written and no other member is unpacked,
so names and links in the archive cannot lead elsewhere.
"""

import gzip
import os
import re
import tarfile
import zlib
from pathlib import Path

from mnv2_mm.checkpoints.file import first_line
from mnv2_mm.utils.errors import InputError

#: Names of frozen graphs; a saved_model.pb holds no values.
_FROZEN = re.compile(r'(?:.*/)?(?:frozen_inference_graph|[\w.]+_frozen)\.pb')
#: Bytes of a graph, and of all that is unpacked on the way to it.
LARGEST_GRAPH, _LARGEST_ARCHIVE = 1 << 30, 4 << 30


def is_archive(path: str | os.PathLike) -> bool:
    """Whether a file has the name of an archive."""
    path = Path(path)
    return path.name.endswith(('.tar.gz', '.tgz')) and path.is_file()


def graph_in(path: Path) -> bytes:
    """Content of a frozen graph, or of the one in an archive."""
    if not is_archive(path):
        with open(path, 'rb') as file:
            return file.read(LARGEST_GRAPH)  # protobuf refuses the rest as cut off
    total = 0
    try:
        with gzip.open(path) as archive:
            # not by tarfile, which reads long names of any size into memory
            while any(block := archive.read(tarfile.BLOCKSIZE)):
                member = tarfile.TarInfo.frombuf(block, 'utf-8', 'surrogateescape')
                if member.size < 0:
                    raise ValueError(f'{member.name} has the size {member.size}')
                total += len(block) + member.size
                if total > _LARGEST_ARCHIVE:
                    break
                is_file = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
                if is_file and _FROZEN.fullmatch(member.name):
                    if member.size > LARGEST_GRAPH:
                        break
                    return archive.read(member.size)
                if not (member.islnk() or member.issym() or member.isdir()):
                    # to the next header
                    padding = -member.size % len(block)
                    archive.seek(member.size + padding, os.SEEK_CUR)
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(
            f'{path} is damaged or cut off ({first_line(error)}); download it again'
        ) from error
    raise InputError(
        f'{path} holds no frozen graph (*_frozen.pb or frozen_inference_graph.pb) of '
        f'at most {LARGEST_GRAPH >> 30} GiB; unpack it, and give the checkpoint in it'
    )
