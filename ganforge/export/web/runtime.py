"""onnxruntime-web, which runs ONNX graphs in a browser: found on disk, in the cache, or fetched by npm."""

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
"""Version that npm fetches; a given package may have another."""

SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
"""Digest of the ``.tgz``."""

_NPM_LIMITS = ("--fetch-retries=1", "--fetch-timeout=60000")
"""Options of npm that limit the time without a network."""

_SCRIPT = "dist/ort.wasm.min.js"
_MODULE = "dist/ort-wasm-simd-threaded.mjs"
_BINARY = "dist/ort-wasm-simd-threaded.wasm"
_ABOUT = "package.json"
_FILES = (_ABOUT, _SCRIPT, _MODULE, _BINARY)


@dataclass(frozen=True)
class Runtime:
    """Files of the package that a page needs.

    Attributes:
        version: Version of the package.
        script: Source of the classic script.
        module: Source of the module that the script loads.
        binary: WebAssembly that the module runs.
    """

    version: str
    script: bytes
    module: bytes
    binary: bytes


def find_runtime(given: str = "") -> Runtime:
    """Return the package from disk, from the cache, or by npm into the cache.

    Args:
        given: The package as a folder or ``.tgz``; empty for the cache, then npm.

    Raises:
        OptionError: The given package is invalid, or none is given and npm cannot fetch it.
        GanforgeError: npm fetched something else.
    """
    if given:
        path = Path(given).expanduser()
        return _read_folder(path) if path.is_dir() else _read_archive(_read(path), str(path))
    cached = cache_folder() / "web" / f"{PACKAGE}-{VERSION}.tgz"
    content = cached.read_bytes() if cached.is_file() else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        content = _fetch_by_npm()
        write_bytes(cached, content)
    return _read_archive(content, str(cached))


def _fetch_by_npm() -> bytes:
    """Return the ``.tgz`` of the pinned version."""
    npm = shutil.which("npm")
    if npm is None:
        raise _unavailable("npm, which fetches it, is not on the PATH")
    with tempfile.TemporaryDirectory(prefix="ganforge-npm-") as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", *_NPM_LIMITS]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            errors = [line for line in done.stderr.splitlines() if line.startswith(("npm error", "npm ERR!"))]
            raise _unavailable(f"npm could not fetch it: {'; '.join(errors[:2]) or f'exit code {done.returncode}'}")
        content = archives[0].read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise GanforgeError(
            f"npm fetched something else than {PACKAGE} {VERSION}: SHA-256 {found}, expected {SHA256}",
            "get the package from a trusted source: --set web.runtime=PATH",
        )
    return content


def _unavailable(why: str) -> OptionError:
    return OptionError(
        f"a web page requires {PACKAGE}: {why}",
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
    """Read the package from a folder, or from its subfolder ``package``, as a ``.tgz`` unpacks."""
    top = folder if (folder / _ABOUT).is_file() else folder / "package"
    return _collect({name: (top / name).read_bytes() for name in _FILES if (top / name).is_file()}, str(folder))


def _read_archive(content: bytes, where: str) -> Runtime:
    files = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                name = member.name.removeprefix("package/")
                if name in _FILES and (file := archive.extractfile(member)):
                    files[name] = file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise OptionError(
            f"web.runtime={where}: not a .tgz, or a damaged one: {error}", f"download the npm package {PACKAGE} again"
        ) from None
    return _collect(files, where)


def _collect(files: Mapping[str, bytes], where: str) -> Runtime:
    if missing := [name for name in _FILES if name not in files]:
        raise OptionError(
            f"web.runtime={where}: not the npm package {PACKAGE}: {missing[0]} is missing",
            f"give the .tgz of {PACKAGE}@{VERSION}, or the folder it unpacks to",
        )
    try:
        version = str(json.loads(files[_ABOUT])["version"])
    except (ValueError, KeyError, TypeError):
        raise OptionError(f"web.runtime={where}: its {_ABOUT} has no version", f"download {PACKAGE} again") from None
    return Runtime(version, files[_SCRIPT], files[_MODULE], files[_BINARY])
