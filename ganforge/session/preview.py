"""Page of a running run, served to browsers on the same machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REFRESH_SECONDS = 5

PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><title>ganforge preview</title>
<style>:root {{ color-scheme: light dark; font-family: sans-serif }} th {{ text-align: left; padding-right: 1em }}
img {{ width: 100%%; max-width: 40em; image-rendering: pixelated }}</style></head>
<body><main><h1>ganforge preview</h1>%s</main></body></html>"""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: a browser left."""


@contextmanager
def serve(describe: Callable[[], str]) -> Iterator[str]:
    """Serve a page around the HTML of `describe` on the loopback interface while the block runs; yield its address.

    Other host names are refused, so that no page of another site can read it.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Host") != host or self.path != "/":
                self.send_error(404)
                return
            content = (PAGE % describe()).encode()
            self.send_response(200)
            for name, value in (
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Length", str(len(content))),
                ("Content-Security-Policy", POLICY),
                ("Cache-Control", "no-store"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, name="preview", daemon=True)
        thread.start()
        try:
            yield f"http://{host}/"
        finally:
            server.shutdown()
            thread.join()
