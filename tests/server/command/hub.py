"""A hub on this machine with one small model, as far as fetching a snapshot asks for it."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

MODEL, COMMIT = "someone/something", "a" * 40
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"\0" * 3_000_000,
    "tokenizer.json": b"{}",
    "modeling.py": b"raise SystemExit",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(has_body=True)

    def do_HEAD(self) -> None:
        self.answer(has_body=False)

    def answer(self, *, has_body: bool) -> None:
        api, name = f"/api/models/{MODEL}", self.path.rpartition("/")[2]
        path = self.path.partition("?")[0]
        if path in (f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            self.send(json.dumps({"id": MODEL, "sha": COMMIT}).encode(), has_body=has_body)
        elif path == f"{api}/tree/{COMMIT}":
            listed = [
                {"type": "file", "path": file, "size": len(content), "oid": digest(content)}
                for file, content in FILES.items()
            ]
            self.send(json.dumps(listed).encode(), has_body=has_body)
        elif path == f"/{MODEL}/resolve/{COMMIT}/{name}" and name in FILES:
            content = FILES[name]
            self.send(content, has_body=has_body, ETag=f'"{digest(content)}"', **{"X-Repo-Commit": COMMIT})
        else:
            missing = "RevisionNotFound" if path.startswith(f"{api}/revision") else "RepoNotFound"
            self.send(b"{}", 404, has_body=has_body, **{"X-Error-Code": missing})

    def send(self, content: bytes, status: int = 200, *, has_body: bool, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if has_body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def hub() -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
