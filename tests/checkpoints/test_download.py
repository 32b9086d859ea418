"""Downloads from a server in a thread: whole, cut, resumed, refused."""

import hashlib
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mnv2_mm.checkpoints import download as module
from mnv2_mm.checkpoints.download import check_digest, download, recorded_digest
from mnv2_mm.utils.errors import InputError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
DIGEST = f'sha256:{hashlib.sha256(CONTENT).hexdigest()}'


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, start = self.server, 0
        wanted = self.headers['Range']
        server.asked.append(wanted)
        if self.path != '/file':
            self.send_error(404)
            return
        if wanted and server.ranges:
            start = int(re.fullmatch(r'bytes=(\d+)-', wanted)[1])
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206)
            last = len(CONTENT) - 1
            self.send_header('Content-Range', f'bytes {start}-{last}/{last + 1}')
        else:
            self.send_response(200)
        body = CONTENT[start:]
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    found = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    found.asked, found.cuts, found.ranges = [], [], True
    found.url = f'http://127.0.0.1:{found.server_port}/file'
    thread = threading.Thread(target=found.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'model.tgz'


def part_of(path):
    return path.with_name('model.tgz.part')


def test_whole(server, path, capsys):
    download(server.url, path, digest=DIGEST, license='Apache-2.0')
    assert path.read_bytes() == CONTENT
    assert not part_of(path).exists()
    assert 'model.tgz (Apache-2.0)' in capsys.readouterr().out
    download(server.url, path, digest=DIGEST)  # another process was first
    assert server.asked == [None]


def test_sha384(server, path):
    digest = f'sha384:{hashlib.sha384(CONTENT).hexdigest()}'
    download(server.url, path, digest=digest)
    assert path.read_bytes() == CONTENT


def test_cut_and_resumed(server, path):
    server.cuts = [1000, 500_000]
    download(server.url, path, digest=DIGEST)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, 'bytes=1000-', 'bytes=501000-']


def test_resumed_by_the_next_run(server, path):
    server.cuts = [0, 0, 0, 0, 1000]
    with pytest.raises(InputError, match='next run goes on'):
        download(server.url, path, digest=DIGEST)
    assert part_of(path).stat().st_size == 1000
    download(server.url, path, digest=DIGEST)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1] == 'bytes=1000-'


def test_a_server_without_ranges(server, path):
    part_of(path).write_bytes(CONTENT[:1000])
    server.ranges = False
    download(server.url, path, digest=DIGEST)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize('left', [CONTENT, CONTENT + b'more'])
def test_a_part_that_is_too_long_starts_over(server, path, left):
    part_of(path).write_bytes(left)
    download(server.url, path, digest=DIGEST)
    assert path.read_bytes() == CONTENT


def test_another_file_is_not_kept(server, path):
    with pytest.raises(InputError, match='not the published one'):
        download(server.url, path, digest=f'sha256:{"0" * 64}')
    assert not path.exists()
    assert not part_of(path).exists()


def free_port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def test_a_failure_is_three_lines(server, path):
    addresses = {
        server.url.replace('/file', '/gone'): 'Not Found',
        f'http://127.0.0.1:{free_port()}/file': 'refused',
        'https://no.such.host.invalid/file': 'downloaded',
        'ftp:/': 'downloaded',
    }
    for url, said in addresses.items():
        with pytest.raises(InputError, match=said) as error:
            download(url, path, digest=DIGEST)
        lines = str(error.value).splitlines()
        assert len(lines) == 3
        assert url in lines[1] and str(path) in lines[2]
        assert error.value.__cause__ is None and error.value.__suppress_context__


def test_sizes_are_bounded(server, path, monkeypatch):
    monkeypatch.setattr(module, '_LARGEST', 1000)
    with pytest.raises(InputError, match='more than 1000'):
        download(server.url, path, digest=DIGEST)


def test_http_needs_a_digest(server, path):
    with pytest.raises(InputError, match='not https'):
        download(server.url, path)
    assert not path.exists()


def test_the_first_digest_is_kept(path, capsys):
    path.write_bytes(CONTENT)
    check_digest(path, 'https://a/b', '')
    assert DIGEST in capsys.readouterr().out
    assert recorded_digest(path) == DIGEST
    check_digest(path, 'https://a/b', '')
    path.write_bytes(b'other')
    said = r'not the first downloaded file.*model\.tgz\.digest'
    with pytest.raises(InputError, match=said):
        check_digest(path, 'https://a/b', '')
    with pytest.raises(InputError, match='not the published file'):
        check_digest(path, 'https://a/b', DIGEST)


def test_a_digest_that_cannot_be_kept_is_one_message(path):
    """As in a folder of an administrator."""
    path.write_bytes(CONTENT)
    path.with_name('model.tgz.digest').mkdir()
    with pytest.raises(InputError, match=r'digest cannot be written .*MNV2_MM_CACHE'):
        check_digest(path, 'https://a/b', '')
