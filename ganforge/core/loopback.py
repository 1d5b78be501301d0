"""Web server for browsers on the same machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

HTML = "text/html; charset=utf-8"

_MOST_BYTES = 1 << 22
"""Size limit of the body of a request."""


class Answer(NamedTuple):
    """Content of a path, and its media type."""

    content: bytes
    media_type: str = HTML


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: a browser left."""


@contextmanager
def serve(answer: Callable[[str, bytes | None], Answer | None], policy: str) -> Iterator[str]:
    """Serve on a free port of the loopback interface while the block runs; yield the address.

    Requests for other host names, and from pages of other sites, are refused, so that no other site can use it.

    Args:
        answer: Returns the content of a path; None if not found. The second argument is the body of a POST request,
            None for GET. Called in several threads.
        policy: Content security policy of all pages.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 60

        def do_GET(self) -> None:
            self._send(None)

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not (length.isdecimal() and len(length) < 10 and int(length) <= _MOST_BYTES):
                self.send_error(413)
                return
            self._send(self.rfile.read(int(length)))

        def _send(self, body: bytes | None) -> None:
            is_own = self.headers.get("Host") == host and self.headers.get("Origin") in (None, f"http://{host}")
            found = answer(self.path, body) if is_own else None
            if found is None:
                self.send_error(404)
                return
            self.send_response(200)
            for name, value in (
                ("Content-Type", found.media_type),
                ("Content-Length", str(len(found.content))),
                ("Content-Security-Policy", policy),
                ("Cross-Origin-Resource-Policy", "same-origin"),
                ("X-Content-Type-Options", "nosniff"),
                ("Cache-Control", "no-store"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.content)

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, name="loopback", daemon=True)
        thread.start()
        try:
            yield f"http://{host}/"
        finally:
            server.shutdown()
            thread.join()
