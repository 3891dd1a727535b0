"""The least HTTP server that streams tokens, for peers that are libraries: token ids in, one event a token out.

It speaks llama.cpp's `POST /completion` as far as the benchmarks use it, and needs the standard library alone, since it
runs in the environments of the peers.
"""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Emit = Callable[[list[int]], None]
"""Sends the newest tokens of a request."""

Complete = Callable[[list[int], int, Emit], None]
"""Continues a prompt by so many tokens; returns when all are sent. Called from a thread for each request."""


class Server(ThreadingHTTPServer):
    """Answers `GET /health` and `POST /completion` until it is stopped."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, complete: Complete) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.complete = complete


class Handler(BaseHTTPRequestHandler):
    """An event stream ends with its connection."""

    server: Server

    def do_GET(self) -> None:
        self._begin("application/json")
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._begin("text/event-stream")
        self.server.complete(body["prompt"], body["n_predict"], self._emit)

    def log_message(self, format: str, *args: object) -> None:
        """A line for each request would be noise."""

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def _emit(self, token_ids: list[int]) -> None:
        self.wfile.write(b"data: %b\n\n" % json.dumps({"tokens": token_ids}).encode())
