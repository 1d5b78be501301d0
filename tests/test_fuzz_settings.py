"""Whatever a configuration file says, it becomes a configuration or one line."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from fuzzing import HOSTILE_JSON, NUMBERS, WORDS, fuzz, guarded
from hypothesis import example, given
from hypothesis import strategies as st

from ganforge import GanforgeError
from ganforge.config.optimizers import OptimizerSettings
from ganforge.config.schema import TrainingConfig, resolve
from ganforge.config.sources import SECTIONS, load_layers, read_config
from ganforge.plugins.registry import Registry
from ganforge.report.evaluations import evaluations_section
from ganforge.report.numbers import curves_section, scores_section
from ganforge.report.reading import read_runs
from ganforge.report.sections import commands_section, provenance_section, warnings_section
from ganforge.report.summary import summary_section
from ganforge.runs.folder import RunFolder

REGISTRY = Registry.installed()

GOOD = resolve(REGISTRY, *load_layers(regularizers=["r1", "path-length"], augmentations=["ada", "diffaugment"])).tree()


def keys(tree):
    for key, value in tree.items():
        yield key
        if isinstance(value, dict):
            yield from keys(value)


KEYS = sorted({*SECTIONS, *keys(GOOD), *TrainingConfig.__dataclass_fields__, *OptimizerSettings.__dataclass_fields__})
NAMES = sorted({part.name for part in REGISTRY.parts()})

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), NUMBERS, WORDS, st.sampled_from(NAMES), st.just(10**400)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(KEYS), WORDS), inner, max_size=4)
    ),
    max_leaves=12,
)
PATHS = [("recipe",), *((section, key) for section, under in GOOD.items() if section != "recipe" for key in under)]
PATHS += [(section,) for section in SECTIONS] + [("nonsense",), ("generator", "nonsense"), ("data", "count")]
PATHS += [("regularizers", "r1", "weight"), ("regularizers", "r1", "x"), ("augmentations", "ada", "probability")]


def changed(tree, path, value):
    """A copy of a tree with another value at a path."""
    key, *rest = path
    under = tree.get(key) if isinstance(tree, dict) else None
    return {**(tree if isinstance(tree, dict) else {}), key: changed(under or {}, rest, value) if rest else value}


@st.composite
def trees(draw):
    """A good configuration with a few places that are not."""
    tree = GOOD
    for path, value in draw(st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=3)):
        tree = changed(tree, path, value)
    return tree


def toml(value, names=()):
    """A tree as TOML, as far as TOML can say it; the rest comes out as text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return str(value).lower() if isinstance(value, (bool, int, float)) else quoted(str(value))


def quoted(text):
    return json.dumps(text.encode("utf-8", "replace").decode())


def settle(path):
    """Read a file and settle a run by it; what is refused is refused in one line that can be shown."""
    with guarded(), suppress(GanforgeError):
        config = resolve(REGISTRY, read_config(path))
        # It is written into the run directory and read again.
        assert resolve(REGISTRY, json.loads(json.dumps(config.tree()))) == config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("settings")


@fuzz(60)
@given(tree=st.one_of(trees(), VALUES))
@example(tree={**GOOD, "training": {**GOOD["training"], "batch": 10**400}})
def test_trees_in_json(folder, tree):
    (folder / "run.json").write_text(json.dumps(tree))
    settle(folder / "run.json")


@fuzz(60)
@given(tree=trees())
def test_trees_in_toml(folder, tree):
    text = "\n".join(f"{quoted(key)} = {toml(value)}" for key, value in tree.items())
    (folder / "run.toml").write_text(text, encoding="utf-8")
    settle(folder / "run.toml")


@st.composite
def documents(draw):
    """Bytes that were a configuration once, or never were."""
    text = draw(st.sampled_from([json.dumps(GOOD), json.dumps(GOOD, indent=1), "[training]\nbatch = 8\n# é\n"]))
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(content)))
        inserted = draw(st.one_of(st.binary(max_size=4), st.sampled_from(HOSTILE_JSON)))
        content = content[:place] + inserted + content[place + draw(st.integers(0, 3)) :]
    return content


@fuzz(60)
@given(content=st.one_of(documents(), st.binary(max_size=64)), suffix=st.sampled_from(["json", "toml", ""]))
@example(content=b"[" * 100_000, suffix="json")
@example(content=b"a = " + b"[" * 100_000, suffix="toml")
@example(content=b"a = " + b"[" * 400 + b"]" * 400, suffix="toml")
@example(content=b"a = " + b"9" * 5000, suffix="toml")
@example(content=b"a" + b".a" * 100_000 + b" = 1", suffix="toml")
@example(content=b'{"training": {"batch": ' + b"9" * 5000 + b"}}", suffix="json")
def test_bytes(folder, content, suffix):
    path = folder / f"run.{suffix}"
    path.write_bytes(content)
    settle(path)


@fuzz(60)
@given(content=documents())
def test_bytes_in_a_run(folder, content):
    (folder / "config.json").write_bytes(content)
    with guarded(), suppress(GanforgeError):
        resolve(REGISTRY, RunFolder(folder).read_config())


ROWS = {
    "tick": {"images": 9, "seconds": 1.5, "images_per_second": 3.0, "D(x)": 0.5, "picture": "a", "warnings": ["b"]},
    "score": {"images": 9, "seconds": 1.5, "fid": 3.0},
    "sitting": {"began": "x", "images": 9, "cores": 2, "processes": 1, "versions": {"torch": "2"}, "plugins": {}},
    "evaluation": {
        "metric": "modes", "value": 1.5, "better": "lower",
        "interval": {"value": 1, "low": 0, "high": 2, "level": 0.95},
        "details": {"classes": [{"name": "a", "generated": 0.5, "data": 1}]}, "protocol": {"num_samples": 5},
        "subject": {"kind": "run", "name": "a", "digest": "0"}, "circumstances": {"data": "x"}, "notes": ["n"],
    },
}  # fmt: skip


@fuzz(60)
@given(name=st.sampled_from(list(ROWS)), place=st.integers(0, 30), value=st.sampled_from(HOSTILE_JSON))
def test_rows_of_a_run_with_a_value_that_nobody_expects(folder, name, place, value):
    path = folder / {"sitting": "environment.jsonl", "evaluation": "evaluations.jsonl"}.get(name, "metrics.jsonl")
    texts = re.split(r"(?<=: )([^,{}\[\]]+)", json.dumps(ROWS[name]))
    place = 2 * (place % (len(texts) // 2)) + 1
    path.write_bytes("".join(texts[:place]).encode() + value + "".join(texts[place + 1 :]).encode() + b"\n")
    (folder / "config.json").write_text('{"recipe": "dcgan"}')
    with guarded():
        story = read_runs([RunFolder(folder)])[0]
        assert all("\n" not in each for each in story.problems)
        for show in (
            summary_section,
            warnings_section,
            curves_section,
            scores_section,
            evaluations_section,
            provenance_section,
            commands_section,
        ):
            show([story])
    path.unlink()


SETTING_TEXTS = st.builds(
    lambda names, value: ".".join(names) + value, st.lists(st.one_of(st.sampled_from(KEYS), WORDS)), WORDS
)


@fuzz(60)
@given(
    settings=st.lists(SETTING_TEXTS, max_size=3),
    regularizers=st.lists(st.builds("{}:{}={}".format, st.sampled_from(NAMES), WORDS, NUMBERS), max_size=2),
    augmentations=st.lists(WORDS, max_size=1),
)
@example(settings=["a" + ".a" * 100_000 + "=1"] * 2, regularizers=[], augmentations=[])
def test_texts_of_the_command_line(settings, regularizers, augmentations):
    with guarded(), suppress(GanforgeError):
        resolve(REGISTRY, *load_layers(None, {}, regularizers, settings, augmentations))


def test_a_good_file_is_good(folder):
    path = Path(folder, "good.json")
    path.write_text(json.dumps(GOOD))
    assert json.loads(json.dumps(resolve(REGISTRY, read_config(path)).tree())) == json.loads(path.read_text())
