"""Built-in aligners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganforge import Aligner, hookimpl

if TYPE_CHECKING:
    from PIL import Image


class CenterAligner(Aligner):
    """The largest centered square of a photograph, or rectangle of the generator's aspect ratio."""

    def align(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        return image  # the center crop follows every aligner


@hookimpl
def ganforge_aligners() -> dict[str, type[Aligner]]:
    return {"center": CenterAligner}
