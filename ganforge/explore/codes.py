"""Codes: latents of projected or edited images, as files that every exploration takes in place of seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ganforge.contract.errors import CheckpointError
from ganforge.explore.spaces import SPACES, LatentSpace, WSpace
from ganforge.runs.checkpoint import read_tensors, save_tensors

_WRITE_ONE = "write one: ganforge explore project --image FILE"


def save_code(
    path: Path, space: LatentSpace, latent: Tensor, noise: Sequence[Tensor] = (), fingerprint: str = ""
) -> None:
    """Write the latent of one image as ``.safetensors``.

    Args:
        path: A ``.safetensors`` file.
        space: Space of the latent.
        latent: Without a batch dimension: ``[z_dim]``, or styles ``[L, w_dim]``.
        noise: Noise maps ``[1, 1, H, W]`` of all layers; empty for those of the generator.
        fingerprint: Digest of the generator, from its card; empty if unknown.
    """
    tensors = {"latent": latent, **{f"noise.{index}": each for index, each in enumerate(noise)}}
    save_tensors(path, tensors, {"kind": "latent", "space": space.name, "generator": fingerprint})


def read_code(path: Path, space: LatentSpace, fingerprint: str = "") -> tuple[Tensor, list[Tensor]]:
    """Read a code, and map it from z to w if the space is w.

    Args:
        path: A file of `save_code`.
        space: Space of the result.
        fingerprint: Digest of the generator, from its card; empty to accept any.

    Returns:
        Latent ``[z_dim]`` or ``[L, w_dim]`` on the generator's device, and noise maps, empty for the generator's.

    Raises:
        CheckpointError: Not found, damaged, no code, of another generator, or in w for a space of z.
    """
    tensors, card = read_tensors(path)
    kind = card.get("space")
    if card.get("kind") != "latent" or kind not in SPACES or "latent" not in tensors:
        raise CheckpointError(f"{path}: not the code of an image", _WRITE_ONE)
    if fingerprint and card.get("generator") not in ("", fingerprint):
        raise CheckpointError(f"{path}: a code of another generator", _WRITE_ONE)
    for name, each in tensors.items():
        if not (each.is_floating_point() and bool(each.isfinite().all())):
            raise CheckpointError(f"{path}: its tensor {name!r} holds other values than finite numbers", _WRITE_ONE)
    if kind != "z" and not isinstance(space, WSpace):
        raise CheckpointError(f"{path}: a code in {kind}, which has no latent in z", "use --space w, or project in z")
    latent = tensors["latent"].float().to(space.device)
    expected: tuple[int, ...] = (space.generator.z_dim,)
    if isinstance(space, WSpace) and kind != "z":
        expected = (space.styles.num_styles, space.styles.w_dim)
    if latent.shape != expected:
        raise CheckpointError(f"{path}: its latent is {list(latent.shape)}, expected {list(expected)}", _WRITE_ONE)
    noise = [tensors[f"noise.{index}"] for index in range(len(tensors) - 1) if f"noise.{index}" in tensors]
    return space.from_z(latent[None])[0].detach() if kind == "z" else latent, noise
