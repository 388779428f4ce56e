"""A server on the loopback address that misbehaves as asked."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from exprbench.core.files import sha256_bytes, write_json


class Server(ThreadingHTTPServer):
    """Serves `files` (path -> bytes) with ranges; `behaviour` maps a path to what goes wrong with it.

    `cut N`: the connection breaks after N bytes of each answer. `status N`. `to URL`: a redirect. `no-range`: ranges
    are ignored. `endless`: no length, and a megabyte more than the file. `claim N`: a false length. `once N`: status N,
    but only the first time.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.behaviour, self.requests = {}, {}, []

    def url(self, path):
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.lstrip("/")
        wanted = self.headers.get("Range")
        self.server.requests.append((path, wanted))
        kind, _, value = self.server.behaviour.get(path, "").partition(" ")
        if kind == "once":
            del self.server.behaviour[path]
        if kind in ("status", "once"):
            return self.send_error(int(value))
        if kind == "to":
            return self.answer(302, b"", {"Location": value})
        data = self.server.files[path]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and kind != "no-range" else 0
        if start and start >= len(data):
            return self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        body = data[start:]
        length = {"endless": None, "claim": value}.get(kind, str(len(body)))
        body = body + bytes(1_000_000) if kind == "endless" else body[: int(value)] if kind == "cut" else body
        return self.answer(206 if start else 200, body, headers | ({"Content-Length": length} if length else {}))

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server():
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def manifest(server, tmp_path):
    """`manifest("driving/a.mp4", ...)` serves those files, each with a content of its own; returns the manifest."""

    def write(*paths, **changes):
        files = []
        for i, path in enumerate(paths):
            name = path.replace("/", "-")
            server.files[name] = bytes([i]) * 1000 + path.encode() * 5000
            data = server.files[name]
            entry = {"path": path, "url": server.url(name), "sha256": sha256_bytes(data), "num_bytes": len(data)}
            files.append(entry | changes)
        content = {
            "schema": 1, "name": "b", "benchmark_sha256": "0" * 64, "fps": 25.0, "clip_seconds": 5.0,
            "cross_per_portrait": 1, "seed": 0, "files": files,
        }  # fmt: skip
        write_json(tmp_path / "manifest.json", content)
        return tmp_path / "manifest.json"

    return write
