"""Page of a running run, served to browsers on the same machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from ganforge.core.loopback import Answer
from ganforge.core.loopback import serve as serve_loopback

REFRESH_SECONDS = 5

PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><title>ganforge preview</title>
<style>:root {{ color-scheme: light dark; font-family: sans-serif }} th {{ text-align: left; padding-right: 1em }}
img {{ width: 100%%; max-width: 40em; image-rendering: pixelated }}</style></head>
<body><main><h1>ganforge preview</h1>%s</main></body></html>"""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def serve(describe: Callable[[], str]) -> AbstractContextManager[str]:
    """Serve a page around the HTML of `describe` on the loopback interface while the block runs; yield its address."""

    def answer(path: str, body: bytes | None) -> Answer | None:
        return Answer((PAGE % describe()).encode()) if path == "/" and body is None else None

    return serve_loopback(answer, POLICY)
