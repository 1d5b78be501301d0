"""Public names with signatures and docstrings in Markdown, for the page docs/reference/api.md."""

from __future__ import annotations

import ast
import enum
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any

LONGEST = 100
"""Characters of a signature in one line."""

_SHOWN = ("__call__", "__getitem__", "__len__")

_SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises):")
_ENTRY = re.compile(r"(\*{0,2}\w[\w.]*|\w+(?:, \w+)*): (.*)", re.DOTALL)


def write_entry(name: str, value: Any) -> Iterator[str]:
    """Yield the lines of one public name."""
    yield from (f"### `{name}`", "")
    if inspect.isclass(value):
        yield from _code(_signature(name, value, "class "))
        yield from write_docstring(value.__doc__ or "")
        yield from _write_attributes(value)
        for key, member in vars(value).items():
            if not key.startswith("_") or key in _SHOWN:
                yield from _write_member(f"{name}.{key}", member)
    elif callable(value) and hasattr(value, "__code__"):
        yield from _code(_signature(name, value, ""))
        yield from write_docstring(value.__doc__ or "")
    elif getattr(value, "__args__", None):
        yield from _code(f"{name} = {str(value).removeprefix('typing.')}")
    else:
        yield from write_docstring(type(value).__doc__ or "")


def _write_attributes(value: type[Any]) -> Iterator[str]:
    """Yield a list of the attributes whose declaration a docstring follows."""
    try:
        (declared,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
    except (OSError, TypeError):
        return
    assert isinstance(declared, ast.ClassDef)
    lines = [
        f"- `{ast.unparse(first.target)}: {ast.unparse(first.annotation)}`: {' '.join(second.value.value.split())}"
        for first, second in pairwise(declared.body)
        if isinstance(first, ast.AnnAssign)
        and isinstance(second, ast.Expr)
        and isinstance(second.value, ast.Constant)
        and isinstance(second.value.value, str)
    ]
    if lines:
        yield from ("**Attributes**", "", *(each.replace("``", "`") for each in lines), "")


def _write_member(path: str, member: Any) -> Iterator[str]:
    """Yield the lines of a documented method or property."""
    function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
    is_property = isinstance(member, (property, cached_property))
    if is_property:
        function = member.fget if isinstance(member, property) else member.func
    if not inspect.isfunction(function) or not function.__doc__:
        return
    yield from (f"#### `{path}`", "")
    if is_property:
        returned = inspect.signature(function).return_annotation
        yield from _code(f"{path}: {_name(returned)}")
    else:
        yield from _code(_signature(path, function, "", bound=not isinstance(member, staticmethod)))
    yield from write_docstring(function.__doc__)


def _signature(name: str, value: Any, prefix: str, *, bound: bool = False) -> str:
    """Return a signature, with one parameter per line if it is long."""
    signature = inspect.signature(value)
    if inspect.isclass(value) and list(signature.parameters) in ([], ["args", "kwargs"]):
        return f"{prefix}{name}"
    parameters = list(signature.parameters.values())[1 if bound else 0 :]
    parts: list[str] = []
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        parts.append(_parameter(each))
    annotation = signature.return_annotation
    ends = "" if inspect.isclass(value) or annotation is signature.empty else f" -> {_name(annotation)}"
    line = f"{prefix}{name}({', '.join(parts)}){ends}"
    if len(line) <= LONGEST:
        return line
    return f"{prefix}{name}(\n" + "".join(f"    {each},\n" for each in parts) + f"){ends}"


def _parameter(each: inspect.Parameter) -> str:
    stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
    text = stars + each.name
    if each.annotation is not each.empty:
        text += f": {_name(each.annotation)}"
    if each.default is each.empty:
        return text
    default = str(each.default) if isinstance(each.default, enum.Enum) else repr(each.default)
    if default.startswith("<"):  # a factory or another object without a literal
        default = "..."
    return f"{text} = {default}" if each.annotation is not each.empty else f"{text}={default}"


def _name(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _code(text: str, language: str = "") -> Iterator[str]:
    """Yield a block, by default a signature, which no language has."""
    yield from (f"```{language}", text, "```", "")


def write_docstring(text: str) -> Iterator[str]:
    """Yield a docstring of Google's style as Markdown: paragraphs, and a list of the entries of each section."""
    section = ""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text).replace("``", "`").replace("<", "&lt;")):
        found = _SECTION.match(block)
        if found:
            section, block = found[1], block[found.end() :]
            yield from (f"**{section}**", "")
        elif not block.startswith("    "):
            section = ""
        if section:
            yield from _list(section, inspect.cleandoc(block))
        elif block.startswith("    "):
            yield from _code(inspect.cleandoc(block), "python")
        else:
            yield from (*_flow(block), "")


def _list(section: str, block: str) -> Iterator[str]:
    """Yield the entries of a section, whose continued lines are indented."""
    if section in ("Returns", "Yields"):
        yield from (" ".join(block.split()), "")
        return
    for entry in re.split(r"\n(?! )", block):
        words = " ".join(entry.split())
        named = _ENTRY.fullmatch(words)
        yield f"- `{named[1]}`: {named[2]}" if named else words
    yield ""


def _flow(block: str) -> list[str]:
    """Return the lines of a paragraph or a list, each joined."""
    lines: list[str] = []
    for line in block.split("\n"):
        if not lines or line.startswith("- "):
            lines.append(line)
        else:
            lines[-1] += " " + line.strip()
    return [line.removesuffix(":") if line.endswith("::") else line for line in lines]
