"""Words that a program can check: banned phrases, one term per concept, docstrings, help and messages."""

import ast
import importlib
import inspect
import io
import pkgutil
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import ganforge
from ganforge.cli import app
from ganforge.contract import errors

ROOT = Path(__file__).parent.parent

BANNED = (
    # riddles
    r"whoever", r"what it is\b", r"be had\b", r"tells?\b", r"(is|are|was|were) told\b", r"asked for\b", r"in vain\b",
    r"what is asked\b", r"by (itself|themselves)\b", r"c[ao]mes? to nothing\b", r"no whole\b", r"lest\b",
    r"at all(?=$|[.,;:)])", r"not (\w+ ){0,3}at all\b", r"(some|no|any)body('s)?\b", r"for want of\b",
    r"(finite|there|present) no more\b", r"so (many|much) of\b",
    # metaphors
    r"goes on\b", r"go on( with)?\b", r"went on\b", r"sittings?\b", r"sits?\b", r"lays?\b", r"in peace\b", r"at rest\b",
    r"wish(es|ed)?\b", r"by heart\b", r"gives? up\b", r"mend(s|ed)?\b", r"stands? (for|in|under)\b",
    # paraphrases
    r"as given\b", r"numbers that change\b", r"things that\b",
)  # fmt: skip
"""Phrases that neither code nor pages use, as patterns from the beginning of a word."""

STEMS = (
    "normal|regular|optim|initial|memor|general|summar|minim|maxim|synchron|serial|recogn|organ|equal|random|quant|"
    "parallel|final|visual|penal|util|author|custom|special|central|stabil"
)
TERMS = {
    "American spelling": rf"\w*({STEMS})is(e|es|ed|er|ers|ing|able|ations?)\b|\w*colour\w*|grey\w*|neighbour\w*"
    r"|behaviour\w*|centre[sd]?\b|licence\b|(un)?labelled\b(?!:)|modelled\b|favour\w*|learnt\b|spelt\b",
    "EMA": r"averaged (generator|network|weights)\b|the generator's average\b"
    r"|running average of (the )?(generator|weights)\b",
    "microbatch": r"mini-batch(es)?\b|parts? of the batch\b",
    "sample grid": r"grids? of (samples|pictures)\b",
    "run directory": r"run folders?\b|run's folder\b|folder of (a|the) run\b",
    "out of memory": r"too little memory\b|memory (that )?does not suffice\b|shortage\b",
    "rank 0": r"(first|leading) process\b|the leader\b",
    "process group": r"the team\b|teams? of processes\b",
    "memory format": r"memory layout\b",
    "scaffold": r"kits?\b",
    "not found": r"(is|are) not there\b|there is no such\b",
    "path or interpolation": r"ways? through (the )?latent space\b",
}
"""The glossary's terms, and patterns that are not used instead."""

LONGEST = 30
"""Words of a sentence in help and messages."""

ERRORS = {name for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, Exception)}

SOURCES = sorted(
    path
    for folder in ("ganforge", "plugins", "docs")
    for path in (ROOT / folder).rglob("*.py")
    if "tests" not in path.relative_to(ROOT).parts and not {".venv", "build"} & {*path.parts}
)
RELEASED = ROOT / "tests" / "version_1"  # copies of packages as they were
TESTS = sorted(
    [*{*(ROOT / "tests").rglob("*.py")} - {*RELEASED.rglob("*.py")}, *(ROOT / "plugins").glob("*/tests/*.py")]
)
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "plugins").glob("*/README.md")])


@cache
def nodes(path):
    return list(ast.walk(ast.parse(path.read_text())))


def where(path, line):
    return f"{path.relative_to(ROOT).as_posix()}:{line}"


def without_code(text):
    """Prose alone: code, formulas and addresses are not words."""
    text = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"``.*?``|`[^`]*`|\$\$.*?\$\$|\$[^$\n]+\$", "X", text, flags=re.DOTALL)
    return re.sub(r"\]\([^)]*\)|https?://\S+|(?<!\w)--[\w-]+", " ", text)


def strings(node):
    """The text of an expression, in which a value that is filled in is one word."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
    if isinstance(node, ast.BinOp):
        return strings(node.left) + strings(node.right)
    return "X"


def docstrings(path):
    """Docstrings of modules, classes and functions, and those that follow a constant: line and text."""
    for node in nodes(path):
        for part in getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else []:
            if (
                isinstance(part, ast.Expr)
                and isinstance(part.value, ast.Constant)
                and isinstance(part.value.value, str)
            ):
                yield part.lineno, inspect.cleandoc(part.value.value)


def help_and_messages(path):
    """Help of options and texts of errors: line and text."""
    for node in nodes(path):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            texts = [each.value for each in node.keywords if each.arg == "help"] + (node.args if name in ERRORS else [])
            for each in texts:
                yield each.lineno, strings(each)


def comments(path):
    with io.StringIO(path.read_text()) as stream:
        for token in tokenize.generate_tokens(stream.readline):
            if token.type == tokenize.COMMENT and not token.string.startswith(("# type:", "# noqa", "# fmt:")):
                yield token.start[0], token.string.lstrip("# ")


@cache
def words():
    """All prose: place and text."""
    found = []
    for path in SOURCES:
        for line, text in [*docstrings(path), *help_and_messages(path), *comments(path)]:
            found.append((where(path, line), without_code(text)))
    for path in TESTS:
        if path != Path(__file__):  # it holds the phrases
            found += [(where(path, line), without_code(text)) for line, text in [*docstrings(path), *comments(path)]]
    for path in PAGES:
        for paragraph in re.split(r"\n\s*\n", without_code(path.read_text())):
            found.append((path.relative_to(ROOT).as_posix(), " ".join(paragraph.split())))
        for fence in re.findall(r"^( *)```\w*\n(.*?)^\1```", path.read_text(), re.DOTALL | re.MULTILINE):
            for comment in re.findall(r"(?:^|\s)# (.*)", fence[1]):
                found.append((path.relative_to(ROOT).as_posix(), without_code(comment)))
    return found


def find(pattern):
    compiled = re.compile(rf"\b(?:{pattern})", re.IGNORECASE)
    return [f"{place}: {found[0]}" for place, text in words() if (found := compiled.search(text))]


def test_no_banned_phrase():
    assert find("|".join(BANNED)) == []


@pytest.mark.parametrize("term", TERMS)
def test_one_term_per_concept(term):
    assert find(TERMS[term]) == [], f"use: {term}"


def test_docstrings_begin_with_a_verb_or_a_noun():
    riddle = re.compile(r"(What|Whoever|How|Whether|Who|Why|See|As given)\b")
    found = [where(path, line) for path in [*SOURCES, *TESTS] for line, text in docstrings(path) if riddle.match(text)]
    assert found == []


def test_help_and_messages_have_short_sentences():
    found = []
    for path in SOURCES:
        for line, text in help_and_messages(path):
            for sentence in re.split(r"(?<=[.!?])\s+", text):
                if len(sentence.split()) > LONGEST:
                    found.append(f"{where(path, line)}: {sentence}")
    assert found == []


def paths_of_commands(command, path=()):
    for name, each in command.commands.items():
        if hasattr(each, "commands"):
            yield from paths_of_commands(each, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("command", sorted(paths_of_commands(typer.main.get_command(app))), ids=" ".join)
def test_flags_show_no_bool(command):
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).output
    assert "--help" in shown
    assert "<bool>" not in shown.lower()


def modules():
    for info in pkgutil.walk_packages(ganforge.__path__, "ganforge."):
        if not info.name.endswith("__main__"):
            yield info.name
    for path in sorted((ROOT / "plugins").glob("*/ganforge_*/*.py")):
        if path.stem not in ("__init__", "__main__"):
            yield f"{path.parent.name}.{path.stem}"


@pytest.fixture(scope="module")
def classes():
    """Public classes of all modules that can be imported here; packages may need more than is installed."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for folder in (ROOT / "plugins").iterdir():
            patch.syspath_prepend(str(folder))
        for name in modules():
            try:
                module = importlib.import_module(name)
            except ImportError:
                if name.startswith("ganforge."):
                    raise
                continue
            for each in vars(module).values():
                if inspect.isclass(each) and each.__module__ == name and not each.__name__.startswith("_"):
                    found[f"{name}.{each.__name__}"] = each
    return found


def test_public_methods_that_override_nothing_have_a_docstring(classes):
    protocols = {
        name
        for info in pkgutil.walk_packages(ganforge.__path__, "ganforge.")
        if not info.name.endswith("__main__")
        for each in vars(importlib.import_module(info.name)).values()
        if inspect.isclass(each) and getattr(each, "_is_protocol", False)
        for name in vars(each)
    }
    missing = []
    for place, each in classes.items():
        for name, member in vars(each).items():
            function = (
                getattr(member, "fget", None) or getattr(member, "func", None) or getattr(member, "__func__", member)
            )
            if name.startswith("_") or not inspect.isfunction(function) or function.__name__ == "<lambda>":
                continue
            is_override = any(hasattr(base, name) for base in each.__mro__[1:])
            is_declared = name in protocols and not getattr(each, "_is_protocol", False)
            if not function.__doc__ and not is_override and not is_declared:
                missing.append(f"{place}.{name}")
    assert missing == []
