"""onnxruntime-web: the program that runs ONNX graphs in a browser; it does not come along with ganforge."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ganforge.contract.errors import GanforgeError, OptionError
from ganforge.core.atomic_files import write_bytes
from ganforge.core.cache import cache_folder

PACKAGE = "onnxruntime-web"

VERSION = "1.30.0"
"""The version that is fetched; a package that is given may be another."""

SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
"""Of its ``.tgz``."""

_PATIENCE = ("--fetch-retries=1", "--fetch-timeout=60000")
"""How npm is told not to try for many minutes where there is no network."""

_SCRIPT = "dist/ort.wasm.min.js"
_MODULE = "dist/ort-wasm-simd-threaded.mjs"
_BINARY = "dist/ort-wasm-simd-threaded.wasm"
_ABOUT = "package.json"
_FILES = (_ABOUT, _SCRIPT, _MODULE, _BINARY)


@dataclass(frozen=True)
class Runtime:
    """What a page needs of the package.

    Attributes:
        version: Of the package.
        script: Source of its classic script.
        module: Source of the module that the script loads.
        binary: The WebAssembly that the module runs.
    """

    version: str
    script: bytes
    module: bytes
    binary: bytes


def find_runtime(given: str = "") -> Runtime:
    """The package, from where the user has it, from the cache, or by npm into the cache.

    Args:
        given: The package as a folder or as a ``.tgz``; empty to look in the cache and then to ask npm for `VERSION`.

    Raises:
        OptionError: What was given is not the package; or nothing was, and it is not to be had.
        GanforgeError: npm brought something else.
    """
    if given:
        path = Path(given).expanduser()
        return _read_folder(path) if path.is_dir() else _read_archive(_read(path), str(path))
    cached = cache_folder() / "web" / f"{PACKAGE}-{VERSION}.tgz"
    content = cached.read_bytes() if cached.is_file() else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        content = _ask_npm()
        write_bytes(cached, content)
    return _read_archive(content, str(cached))


def _ask_npm() -> bytes:
    """The pinned package's ``.tgz``."""
    npm = shutil.which("npm")
    if npm is None:
        raise _not_to_be_had("npm, which would fetch it, is not on the PATH")
    with tempfile.TemporaryDirectory(prefix="ganforge-npm-") as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", *_PATIENCE]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            errors = [line for line in done.stderr.splitlines() if line.startswith(("npm error", "npm ERR!"))]
            raise _not_to_be_had(f"npm could not fetch it: {'; '.join(errors[:2]) or f'exit code {done.returncode}'}")
        content = archives[0].read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise GanforgeError(
            f"what npm brought is not {PACKAGE} {VERSION}: its SHA-256 is {found}, not {SHA256}",
            "get the package from where you trust it and give it: --set web.runtime=PATH",
        )
    return content


def _not_to_be_had(why: str) -> OptionError:
    return OptionError(
        f"a web page needs {PACKAGE}, and {why}",
        f"get the npm package {PACKAGE}@{VERSION} and give its .tgz, or the folder it unpacks to: "
        "--set web.runtime=PATH",
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OptionError(
            f"web.runtime={path}: cannot be read: {error.strerror}", f"give the .tgz of the npm package {PACKAGE}"
        ) from None


def _read_folder(folder: Path) -> Runtime:
    """The package in a folder, or in the folder ``package`` of it, as a ``.tgz`` unpacks."""
    top = folder if (folder / _ABOUT).is_file() else folder / "package"
    return _collect({name: (top / name).read_bytes() for name in _FILES if (top / name).is_file()}, str(folder))


def _read_archive(content: bytes, where: str) -> Runtime:
    """The package from the bytes of its ``.tgz``."""
    files = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                name = member.name.removeprefix("package/")
                if name in _FILES and (file := archive.extractfile(member)):
                    files[name] = file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise OptionError(
            f"web.runtime={where}: is no .tgz, or a damaged one: {error}", f"get the npm package {PACKAGE} anew"
        ) from None
    return _collect(files, where)


def _collect(files: Mapping[str, bytes], where: str) -> Runtime:
    """The runtime from the package's files; `where` they were, for errors."""
    if missing := [name for name in _FILES if name not in files]:
        raise OptionError(
            f"web.runtime={where}: is not the npm package {PACKAGE}: it lacks {missing[0]}",
            f"give the .tgz of {PACKAGE}@{VERSION}, or the folder it unpacks to",
        )
    try:
        version = str(json.loads(files[_ABOUT])["version"])
    except (ValueError, KeyError, TypeError):
        raise OptionError(f"web.runtime={where}: its {_ABOUT} tells no version", f"get {PACKAGE} anew") from None
    return Runtime(version, files[_SCRIPT], files[_MODULE], files[_BINARY])
