"""``ganforge demo``: pictures of a shipped generator, and a page to explore it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

from ganforge.cli.common import open_generator
from ganforge.cli.options import Out, switch
from ganforge.core.console import print_result, say

NUM_IMAGES = 64
"""Images of the grid."""

COMMANDS = (
    "ganforge explore mix {name}",
    "ganforge export {name} --torchscript",
    "ganforge train --data avatars --images 8k",
)
"""Commands to try."""


def demo(
    no_browser: Annotated[bool, switch("--no-browser", "Draw the picture only, without a page.")] = False,
    out: Out = Path("runs"),
) -> None:
    """Draw faces of a trained generator that comes with ganforge, and open a page in the browser to explore it.

    The page is served on this machine only, at a terminal, until Ctrl-C.
    """
    import torch

    from ganforge.runs.shipped import DEFAULT, SHIPPED, output_folder
    from ganforge.session.samples import SampleWriter

    run = SHIPPED / DEFAULT
    generator, card = open_generator(run / "generator.safetensors", torch.device("cpu"))
    picture = output_folder(run, out) / "samples.png"
    SampleWriter(generator, card, seed=0, truncation=1, precision="float32").write(NUM_IMAGES, [], picture)
    print_result(str(picture))
    say("\n".join(["try:", *(f"  {each.format(name=DEFAULT)}" for each in COMMANDS)]))
    if no_browser or not sys.stdout.isatty():
        return

    from ganforge.core.loopback import serve
    from ganforge.export.web.live import POLICY, LivePage
    from ganforge.training.signals import StopRequest

    with StopRequest() as request, serve(LivePage(generator, card).answer, POLICY) as address:
        print_result(address)
        if has_display():
            import webbrowser

            webbrowser.open(address)
        say("Ctrl-C ends the page")
        while request.signal is None:
            time.sleep(0.1)


def has_display() -> bool:
    """Return whether a browser can open a window."""
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
