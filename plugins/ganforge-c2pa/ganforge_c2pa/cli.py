"""Command ``ganforge c2pa``: sign pictures and verify signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Sign pictures of ganforge with C2PA, and verify signatures.")


@app.command()
def sign(
    path: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="Picture that ganforge marked, or folder.")],
    certificate: Annotated[Path, typer.Option(help="PEM of your certificate and those that issued it, in order.")],
    key: Annotated[Path, typer.Option(help="PEM of its private key, without a password.")],
) -> None:
    """Sign pictures in place as generated. Of a folder, sign all that ganforge marked and no others."""
    from ganforge_c2pa.signing import Signatory, find_pictures, sign

    signatory = Signatory.read(certificate, key)
    for each in find_pictures(path):
        sign(each, signatory)
        typer.echo(each)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Signed picture.")],
    anchors: Annotated[
        Path | None, typer.Option(help="PEM of certificates that you trust.", show_default=False)
    ] = None,
) -> None:
    """Verify a picture's signature and that nothing changed since; exit code 2 if not."""
    from ganforge_c2pa.signing import verify

    found = verify(file, anchors)
    trust = "a trusted issuer" if found.is_trusted else "an issuer that is not among trusted ones"
    typer.echo(f"{file}: unchanged since it was signed by {found.signer}, of {trust}")
    typer.echo(f"{found.source_type.rpartition('/')[2]}: {found.description}")
