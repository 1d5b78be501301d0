"""Makes malicious run directories: real ones with links, devices, crafted names and values.

`Forger.forge` gives the same folder for the same seed and index.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

Tree = dict[str, Any] | list[Any]

ESCAPES = "a\x1b[31mb\x1b]0;t\x07\rc"
BIDI = "photo\u202egnp.exe\u2066"
SCRIPT = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"

LIKE_DRAFTS = (".thesis.tmp", ".thesis.0123abcd.ganforge-draft")
"""Folders of the user that are named like drafts, beside runs and results."""

STRANGER = 65534
"""Owner of a folder that is not the user's, where the tests may give files away."""

TEXTS: list[str] = [
    "", " ", "\n", "a\nb", ESCAPES, BIDI, SCRIPT, "--help", "-rf", "..", "../..", "/", "~", "~root/x", "\x00", "\ud800",
    "\udcff", "\u2028", "x" * 300, "y" * 100_000, "[red]x[/red]", "{0.__class__}", "%s%n", "$(touch owned)", "`id`",
    "'; DROP", "file:///etc/passwd", "http://127.0.0.1:9/x", "nan", "inf", "1e400", "none", "true", "0x10", "½", "٣",
]  # fmt: skip
NUMBERS: list[Any] = [
    0, -1, 1, 2, 0.5, -0.0, 1e-320, 1e308, -1e308, 2**31, 2**63, -(2**63) - 1, 2**64, 10**12, 10**18, 10**30,
]  # fmt: skip
RAW = ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" + "0" * 400, "9" * 5000, "[" * 100_000, '"\\ud800"', "-"]
"""JSON that `json.dumps` never writes."""

NAMES = [
    "1e9", "-1", "+5", "0", "000000000", "999999999", "9" * 18, "9" * 200, "²", "٣٤", "..", ". .", " 1", "1 ", "nul",
    "--help", "-rf", "a\nb", ESCAPES, BIDI, SCRIPT.replace("/", "-")[:80], "x" * 200, "000000016\n", "0000000016", "%s",
    "[red]", "$(touch owned)", "a;b", "é", "\ufeff1",
]  # fmt: skip
"""Stems of files and names of folders."""


HUGE = [
    "generator.width",
    "generator.max_width",
    "generator.z_dim",
    "discriminator.width",
    "data.resolution",
    "training.batch",
    "training.samples",
    "training.eval_samples",
    "training.threads",
    "training.keep_checkpoints",
    "training.d_steps",
]
"""Numbers that cost memory or time."""


class Raw(str):
    """A JSON value as it is written, valid or not."""


def write_json(tree: Any, source: random.Random) -> str:
    """JSON of a tree that may hold `Raw` values; NaN and lone surrogates are written as they are."""
    raws: list[str] = []

    def mark(value: Any) -> Any:
        if isinstance(value, Raw):
            raws.append(str(value))
            return f"@@raw {len(raws) - 1}@@"
        if isinstance(value, dict):
            return {key: mark(each) for key, each in value.items()}
        return [mark(each) for each in value] if isinstance(value, list) else value

    text = json.dumps(mark(tree), ensure_ascii=source.random() < 0.5)
    for number, raw in enumerate(raws):
        text = text.replace(f'"@@raw {number}@@"', raw)
    return text


def find_paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in a tree but its root."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [each for key, value in items for each in ((*path, key), *find_paths(value, (*path, key)))]


def bomb_png(edge: int) -> bytes:
    """A small PNG that claims `edge` squared pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", edge, edge, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min(edge * edge, 1 << 24)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def bomb_gif(frames: int) -> bytes:
    """A GIF of many frames that claim 65,535 squared pixels each."""
    size = struct.pack("<HH", 65_535, 65_535)
    frame = b"\x2c\0\0\0\0" + size + b"\0\x02\x02\x44\x01\0"
    return b"GIF89a" + size + b"\x80\0\0\0\0\0\xff\xff\xff" + frame * frames + b"\x3b"


CONTENTS: dict[str, bytes] = {
    "nothing": b"",
    "a line feed": b"\n",
    "zeros": bytes(1000),
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n{} loop\n%%EOF\n",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><image href='file:///etc/passwd'/></svg>",
    "PDF": b"%PDF-1.4\n1 0 obj<</Type/Catalog/OpenAction<</S/Launch/F(x)>>>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
    "HTML": SCRIPT.encode(),
    "a pickle": b"cos\nsystem\n(S'touch owned'\ntR.",
    "a zip": b"PK\x03\x04" + bytes(60),
    "a PNG bomb": bomb_png(20_000),
    "a larger PNG bomb": bomb_png(2_000_000_000),
    "a GIF bomb": bomb_gif(2000),
    "half a PNG": bomb_png(64)[:60],
    "an FLI": bytes.fromhex("80000000 11af 0100 ffff ffff 0800 0300 0000") + bytes(120),
    "an ICNS": b"icns" + struct.pack(">I", 2**31 - 1) + b"ic10" + struct.pack(">I", 2**31 - 1),
    "a huge header": struct.pack("<Q", 2**62) + b"{}",
    "a header beyond the end": struct.pack("<Q", 1 << 20) + b"{}",
    "deep JSON": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "no UTF-8": b'{"images": "\xff\xfe"}\n',
    "a list": b"[1, 2]\n",
    "a number": b"1e400\n",
    "null": b"null\n",
    "many lines": b'{"images": 16, "seconds": 1, "loss": 1}\n' * 20_000,
    "a long line": b'{"images": 16, "x": "' + b"x" * 5_000_000 + b'"}\n',
    "many keys": ("{" + ",".join(f'"k{number}": {number}' for number in range(50_000)) + "}\n").encode(),
}
"""Wrong content of a file."""


class Forger:
    """Makes hostile folders.

    Args:
        templates: Real runs.
        seed: Of all folders.
    """

    def __init__(self, templates: list[Path], seed: int) -> None:
        self._templates = templates
        self._seed = seed

    def forge(self, place: Path, index: int) -> tuple[Path, list[str]]:
        """Make a folder for one command: a run to be used, and what it must not touch.

        Args:
            place: A new folder. It gets ``canary``, with private files, and ``runs``.
            index: Number of the run.

        Returns:
            The hostile run, and what was done to it.
        """
        source = random.Random(f"{self._seed}/{index}")
        template = self._templates[index % len(self._templates)]
        lay_canary(place, template)
        run = place / "runs" / "00000-theirs"
        shutil.copytree(template, run, symlinks=True)
        forgery = Forgery(run, place / "canary", source)
        done = [forgery.change() for _ in range(source.choice((1, 1, 1, 2, 3)))]
        if source.random() < 0.1:
            run, name = rename(run, source)
            done.append(f"the run is called {name!r}")
        if os.geteuid() == 0 and source.random() < 0.5:
            for path in [run, *run.rglob("*")]:
                os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
            done.append("of another owner")
        return run, done


def lay_canary(place: Path, template: Path) -> None:
    """Make private files beside runs: such as a link could pass for a run's own, and folders named like drafts."""
    canary = place / "canary"
    shutil.copytree(template, canary / "run")
    for name in ("secret.txt", "keys"):
        (canary / name).write_text("private\n")
    (canary / "folder").mkdir()
    (canary / "folder" / "000000001.safetensors").write_bytes(b"private")
    for folder in (place / "runs", place / "out"):
        for name in LIKE_DRAFTS:
            (folder / name).mkdir(parents=True)
            (folder / name / "thesis.txt").write_text("private\n")


def rename(run: Path, source: random.Random) -> tuple[Path, str]:
    """Give a run a name that hurts."""
    name = source.choice([each for each in NAMES if each not in (".", "..") and "/" not in each])
    target = run.with_name(name if source.random() < 0.5 else f"00000-{name}")
    run.rename(target)
    return target, target.name


class Forgery:
    """A run directory that is made hostile.

    Args:
        run: The folder.
        canary: Folder of private files; ``run`` in it is a whole run.
        source: Of all chance.
    """

    def __init__(self, run: Path, canary: Path, source: random.Random) -> None:
        self.run, self.canary, self.source = run, canary, source

    def change(self) -> str:
        """Make one change; what it was."""
        kinds: list[tuple[Callable[[], str], int]] = [
            (self.put_link, 5),
            (self.put_special, 3),
            (self.put_content, 4),
            (self.damage, 2),
            (self.add_name, 3),
            (self.change_json, 8),
            (self.change_card, 5),
            (self.change_header, 2),
        ]
        done = "nothing"
        while done == "nothing":
            done = self.source.choices([each for each, _ in kinds], [weight for _, weight in kinds])[0]()
        return done

    def pick(self) -> Path:
        """A place in the run: what is there, or what a command would write."""
        there = [each for each in sorted(self.run.rglob("*")) if not each.is_symlink()]
        later = "evaluations.jsonl report.html export explore log.txt run.lock .lock lock environment.jsonl "
        later += "nearest.png explore/walk.gif samples/real.png samples/000000048.png "
        later += "checkpoints/000000048.safetensors events"
        choices = there + [self.run / each for each in later.split()] * (self.source.random() < 0.3)
        return self.source.choice(choices or [self.run / "config.json"])

    def clear(self, path: Path) -> str:
        """Remove what is there; its name in the run."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.relative_to(self.run).as_posix()

    def put_link(self) -> str:
        """A symbolic link instead of a file or a folder."""
        path = self.pick()
        own = self.canary / "run" / path.relative_to(self.run)
        targets = [own, own, own, self.canary / "secret.txt", self.canary / "folder", self.canary / "new", path]
        targets += [Path("/dev/zero"), Path("/dev/stdin"), self.run, self.canary.parent]
        target = self.source.choice(targets)
        name = self.clear(path)
        text = os.path.relpath(target, path.parent) if self.source.random() < 0.4 else str(target)
        path.symlink_to(text)
        return f"{name} is a link to {text}"

    def put_special(self) -> str:
        """A pipe, a socket, a device or a folder instead of a file."""
        path = self.pick()
        name = self.clear(path)
        kinds = ["pipe", "socket", "empty folder", "full folder"] + ["null", "zero", "full"] * (os.geteuid() == 0)
        kind = self.source.choice(kinds)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            here = Path.cwd()
            os.chdir(path.parent)  # names of sockets are short
            with socket.socket(socket.AF_UNIX) as each:
                each.bind(path.name)
            os.chdir(here)
        elif kind.endswith("folder"):
            path.mkdir()
            if kind.startswith("full"):
                (path / "x").write_text("x")
        else:
            number = {"null": 3, "zero": 5, "full": 7}[kind]
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, number))
        return f"{name} is a {kind}"

    def put_content(self) -> str:
        """Something else in a file."""
        path = self.pick()
        name = self.clear(path)
        kind = self.source.choice([*CONTENTS, "many gigabytes"])
        if kind == "many gigabytes":
            with path.open("wb") as file:
                file.truncate(1 << 36)
        else:
            path.write_bytes(CONTENTS[kind])
        return f"{name} holds {kind}"

    def damage(self) -> str:
        """A file cut short, doubled, with a flipped byte, or gone."""
        files = [each for each in sorted(self.run.rglob("*")) if each.is_file() and not each.is_symlink()]
        files = [each for each in files if 0 < each.stat().st_size < 1 << 24]
        if not files:
            return "nothing"
        path = self.source.choice(files)
        content, how = path.read_bytes(), self.source.choice(("cut", "doubled", "flipped", "gone"))
        place = self.source.randrange(len(content))
        flipped = bytes([content[place] ^ 1 << self.source.randrange(8)])
        changed = {"cut": content[:place], "doubled": content * 2, "gone": b""}
        path.write_bytes(changed.get(how, content[:place] + flipped + content[place + 1 :]))
        if how == "gone":
            path.unlink()
        return f"{path.relative_to(self.run).as_posix()} is {how}"

    def add_name(self) -> str:
        """A file or a folder of a crafted name."""
        parent = self.source.choice(
            [self.run, self.run / "checkpoints", self.run / "samples", self.run / "export", self.run / "explore"]
        )
        if not parent.is_dir() or parent.is_symlink():
            return "nothing"
        suffix = {"checkpoints": ".safetensors", "samples": ".png"}.get(parent.name, ".json")
        path = parent / (self.source.choice(NAMES)[:200] + self.source.choice((suffix, suffix, suffix, ".png", "")))
        if self.source.random() < 0.2:
            path = parent / f".{self.source.choice(['x', 'config.json', '000000048.png'])}.0123abcd.ganforge-draft"
        if os.path.lexists(path):
            return "nothing"
        files = [each for each in sorted(parent.iterdir()) if each.is_file() and each.stat().st_size < 1 << 24]
        how = self.source.choice(("copy", "link", "folder", "pipe"))
        if how == "copy" and files:
            path.write_bytes(self.source.choice(files).read_bytes())
        elif how == "link":
            path.symlink_to(self.canary / self.source.choice(("folder", "secret.txt", "new")))
        elif how == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()
        return f"{path.relative_to(self.run).as_posix()!r} is there, a {how}"

    def value(self) -> Any:
        """An unexpected JSON value."""
        kind = self.source.randrange(9)
        if kind == 0:
            paths = [self.canary, self.canary / "run", self.canary / "secret.txt", self.canary / "run/config.json"]
            text = str(self.source.choice(paths))
            return text if self.source.random() < 0.5 else os.path.relpath(text, self.run)
        if kind <= 2:
            return self.source.choice(TEXTS)
        if kind <= 4:
            return self.source.choice(NUMBERS)
        if kind == 5:
            return Raw(self.source.choice(RAW))
        simple: list[Any] = [None, True, False, [], {}, [[]], {"": ""}, {"name": {"name": []}}, [None] * 10_000]
        return self.source.choice(simple)

    def poison(self, tree: Tree) -> str:
        """Change one place of a tree; what was done."""
        paths = find_paths(tree)
        if not paths:
            return "nothing"
        path = self.source.choice(paths)
        parent: Any = tree
        for key in path[:-1]:
            parent = parent[key]
        name, value = ".".join(map(str, path)), self.value()
        shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:50]}... ({len(repr(value))} letters)"
        how = self.source.random()
        if how < 0.1:
            del parent[path[-1]]
            return f"without {name}"
        if how < 0.2 and isinstance(parent, dict):
            key = self.source.choice([*TEXTS[:16], "__proto__", "name", "options"])
            parent[key] = value
            return f"{name} beside {key[:20]!r}: {shown}"
        if how < 0.25 and isinstance(parent, dict):
            parent[path[-1]] = Raw(
                f"{json.dumps(parent[path[-1]])}, {json.dumps(path[-1])}: {json.dumps(parent[path[-1]])}"
            )
            return f"{name} twice"
        parent[path[-1]] = value
        return f"{name}: {shown}"

    def change_json(self) -> str:
        """A value in one of the JSON files."""
        found = [each for suffix in ("json", "jsonl") for each in sorted(self.run.rglob(f"*.{suffix}"))]
        files = [each for each in found if each.is_file() and not each.is_symlink() and each.stat().st_size < 1 << 20]
        if not files:
            return "nothing"
        path = self.source.choice([*files, *[each for each in files if each.name == "config.json"]])
        text = path.read_text(errors="replace")
        lines = text.splitlines() if path.suffix == ".jsonl" else [text]
        number = self.source.randrange(len(lines)) if lines else 0
        try:
            tree = json.loads(lines[number])
        except (ValueError, IndexError, RecursionError):
            return "nothing"
        if not isinstance(tree, dict):
            return "nothing"
        leads_out = path.name == "config.json" and self.source.random() < 0.2
        done = self.lead_out(tree) if leads_out else self.poison(tree)
        lines[number] = write_json(tree, self.source)
        path.write_text("\n".join(lines) + "\n", errors="surrogatepass")
        return f"{path.relative_to(self.run).as_posix()}: {done}"

    def lead_out(self, tree: dict[str, Any]) -> str:
        """A configuration that reads or writes elsewhere."""
        outside = self.source.choice([str(self.canary / "folder"), os.path.relpath(self.canary / "folder", self.run)])
        loggers = tree.setdefault("loggers", {})
        how = self.source.choice(("logger", "init", "part", "huge"))
        if how == "logger" and isinstance(loggers, dict):
            loggers["tensorboard"] = {"folder": outside}
        elif how == "init" and isinstance(tree.get("training"), dict):
            tree["training"]["init_from"] = str(self.canary / "run" / "generator.safetensors")
        elif how == "part":
            tree[self.source.choice(("generator", "discriminator", "loss"))] = {"name": outside, "path": outside}
        else:
            section, key = self.source.choice(HUGE).split(".")
            if isinstance(tree.get(section), dict):
                tree[section][key] = self.source.choice((10**5, 10**9, 10**18))
            return f"{section}.{key} is huge"
        return f"{how} leads to {outside}"

    def weights(self) -> Path | None:
        """One of the files of weights."""
        files = [each for each in sorted(self.run.rglob("*.safetensors")) if each.is_file() and not each.is_symlink()]
        files = [each for each in files if 100 < each.stat().st_size < 1 << 24]
        return self.source.choice(files) if files else None

    def change_card(self) -> str:
        """A value in the card of a file of weights, with a digest that fits."""
        from ganforge.runs.checkpoint import _digest_card

        path = self.weights()
        try:
            with safe_open(path or "", framework="pt") as file:
                card = json.loads((file.metadata() or {})["ganforge"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception:  # an earlier change has damaged it
            return "nothing"
        assert path is not None
        done = self.poison(card)
        text = write_json(card, self.source)
        try:
            known = json.loads(text)
            known["card_digest"] = _digest_card(known)
            if not any(isinstance(each, Raw) for each in card.values()):
                text = json.dumps(known, sort_keys=True)
        except (ValueError, RecursionError, TypeError):
            pass
        try:
            save_file(tensors, path, metadata={"ganforge": text})
        except Exception:  # lone surrogates
            return "nothing"
        return f"card of {path.relative_to(self.run).as_posix()}: {done}"

    def change_header(self) -> str:
        """A value in the header of a file of weights."""
        path = self.weights()
        if path is None:
            return "nothing"
        content = path.read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        try:
            header = json.loads(content[8 : 8 + size])
        except (ValueError, RecursionError):
            return "nothing"
        done = self.poison(header)
        text = write_json(header, self.source).encode(errors="surrogatepass")
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
        return f"header of {path.relative_to(self.run).as_posix()}: {done[:200]}"
