"""Files by address, from a server in a thread."""

import hashlib
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from mnv2_mm.checkpoints.addresses import local_file
from mnv2_mm.checkpoints.file import read
from mnv2_mm.utils.errors import InputError


def saved(value):
    data = io.BytesIO()
    torch.save({'a': torch.full((9,), float(value))}, data)
    return data.getvalue()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.files[self.path]
        self.send_response(200)
        # without a length nothing shows a cut but the end of the file
        if not self.path.startswith('/cut'):
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    found = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    found.files, found.cuts = {}, []
    found.url = f'http://127.0.0.1:{found.server_port}'
    thread = threading.Thread(target=found.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def test_addresses_with_one_last_part_are_two_files(server):
    paths = ['/1/a.pth', '/2/a.pth', '/2/a.pth?v=3', '/']
    server.files = {path: saved(number) for number, path in enumerate(paths)}
    for _ in range(2):  # from the server, and from the folder
        found = [read(server.url + path)['a'][0] for path in paths]
        assert found == [0, 1, 2, 3]
        assert Path(local_file(server.url + paths[0])).name == 'a.pth'
        server.files.clear()


def test_files_of_torch_hub_are_read_where_their_name_has_the_digest(server, tmp_path):
    content = saved(5)
    digest = hashlib.sha256(content).hexdigest()[:8]
    server.files = {
        f'/{name}.pth': saved(7) for name in ('a', f'a-{digest}', 'a-00000000')
    }
    (tmp_path / 'checkpoints').mkdir()
    for path in server.files:
        (tmp_path / f'checkpoints{path}').write_bytes(content)
    found = [read(server.url + path)['a'][0] for path in server.files]
    assert found == [7, 5, 7]


def test_a_cut_download_is_not_kept(server):
    address = f'{server.url}/a.pth'
    server.files, server.cuts = {'/a.pth': saved(1)}, [100] * 5
    with pytest.raises(InputError, match=address):
        read(address)
    assert read(address)['a'][0] == 1


@pytest.mark.parametrize(
    ('path', 'content', 'said'),
    [
        ('/a.pth', b'<html>sign in</html>', 'a web page'),
        ('/a.tflite', b'<html>sign in</html>', 'a web page'),
        ('/cut.pth', saved(1)[:-100], 'cut off'),
    ],
)
def test_what_is_no_file_of_weights_is_not_kept(path, content, said, server):
    address = server.url + path
    server.files = {path: content}
    with pytest.raises(InputError, match=f'{address} is {said}'):
        local_file(address)
    server.files = {path: saved(3)}
    assert read(address)['a'][0] == 3
