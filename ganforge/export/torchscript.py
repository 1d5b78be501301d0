"""A generator as one TorchScript file that runs without ganforge, in Python and in C++, proved before it is written."""

from __future__ import annotations

import copy
import inspect
import io
import json
import math
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganforge.capabilities import StyleGenerator
from ganforge.checkpoint import digest_tensors
from ganforge.errors import GanforgeError, PluginError
from ganforge.files import write_bytes
from ganforge.interfaces import Generator
from ganforge.layers.noise import NOISE_MODES
from ganforge.sampling import can_truncate, cycle_labels, draw_latents
from ganforge.version import __version__

TOLERANCE = 1e-5
"""Largest difference accepted; other processors and batch sizes alone round differently by up to 3e-6."""

Case = dict[str, Any]
"""Arguments of one call by name: tensors, numbers and texts. With ``noise`` it is a call of both halves in turn."""

# What the fresh process runs: it knows nothing of ganforge, nor of the plugin that the generator came from.
_CONSUMER = """
import json
import sys
import torch
from safetensors.torch import load_file, save_file

folder = sys.argv[1]
network = torch.jit.load(f"{folder}/model.pt", map_location="cpu")
with open(f"{folder}/inputs.json") as file:
    cases = json.load(file)
for key, value in load_file(f"{folder}/inputs.safetensors").items():
    index, name = key.split(".")
    cases[int(index)][name] = value
outputs = {}
for index, arguments in enumerate(cases):
    torch.manual_seed(0)
    with torch.no_grad():
        if "noise" in arguments:
            noise = arguments.pop("noise")
            output = network.synthesis(network.mapping(**arguments), noise)
        else:
            output = network(**arguments)
        outputs[str(index)] = output.clone(memory_format=torch.contiguous_format)
save_file(outputs, f"{folder}/outputs.safetensors")
"""

# What TorchScript says, and the rule behind it; the first one found in its message counts.
_RULES = (
    ("torch/_compile.py", "leave torch.compile and activation checkpointing out of what is exported"),
    ("keyword-only arguments with defaults", "take no *args, no **kwargs and no keyword-only argument with a default"),
    ("Expected integer literal for index", "iterate over a ModuleList; only a literal number may index it"),
    ("failed to convert Python type", "forward reads numbers, strings and tensors of self only; set them in __init__"),
    ("failed to compile it to a TorchScript function", "keep no lambda on self; write a method or a module"),
    ("Unknown type name", "write annotations without quotes: Tensor | None"),
    ("Unknown type annotation", "annotate attributes where __init__ sets them, not in the body of the class"),
    ("instead found type 'Optional[Tensor]'", "test what may be None first: if labels is not None"),
    ("Can't get source", "define the class in a .py file; TorchScript compiles its source"),
    ("'SpectralNorm'", "use torch.nn.utils.parametrizations.spectral_norm"),
)


@dataclass(frozen=True)
class ExportReport:
    """What was written and how well it was proved.

    Attributes:
        path: The file.
        num_bytes: Its size.
        num_examples: Outputs compared with the original's.
        worst_difference: Largest absolute difference among them; at most `TOLERANCE`.
    """

    path: Path
    num_bytes: int
    num_examples: int
    worst_difference: float


def export_torchscript(generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
    """Write a generator as TorchScript, once a fresh process without ganforge has computed the same from it.

    The file holds the network on the CPU in float32 and evaluation mode, and two texts: ``ganforge.json``, which is
    the card and how to call the network, and ``summary.txt``, the same in brief for readers without a JSON parser.
    Equal weights give equal bytes within one process; between processes TorchScript orders constants in its code by
    Python's string hashes, so compare the ``digest`` of the weights in ``ganforge.json`` there.

    Args:
        generator: The network; it is left as it was.
        card: What its checkpoint says of it, as `ganforge.checkpoint.load_generator` returns it.
        path: Where to write; an older file is replaced, or stays as it was on any error.

    Raises:
        GanforgeError: TorchScript cannot compile the network, or the compiled one computes something else; or the
            network gives numbers that are not finite; or the file cannot be written.
        PluginError: The network gives another shape than its data ask for.
    """
    network = copy.deepcopy(generator).cpu().float().eval().requires_grad_(False)
    cases = _cases(network, len(card["data"]["class_names"]))
    expected = [_call(network, case) for case in cases]
    for case, output in zip(cases, expected, strict=True):
        shape = [len(case["z"]), *card["data"]["shape"]]
        if list(output.shape) != shape:
            raise PluginError(f"{type(generator).__name__} gives {list(output.shape)} where its data ask for {shape}")
        if not output.isfinite().all():
            raise GanforgeError(
                f"{type(generator).__name__} gives numbers that are not finite", "export an earlier checkpoint"
            )
    content = _pack(script(network), _describe(network, card))
    worst = _worst_difference(content, cases, expected)
    write_bytes(path, content)
    return ExportReport(path, len(content), sum(len(output) for output in expected), worst)


def script(network: nn.Module) -> torch.jit.ScriptModule:
    """Compile a network with TorchScript.

    Args:
        network: In evaluation mode. Its parametrizations, such as spectral norm, are replaced by the weights that they
            give, for TorchScript cannot compile them.

    Raises:
        GanforgeError: It cannot be compiled; the message names the construct and its line, the hint the rule.
    """
    try:
        for module in list(network.modules()):
            if parametrize.is_parametrized(module):
                for name in list(module.parametrizations):  # type: ignore[arg-type]
                    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        with _quiet():
            scripted: torch.jit.ScriptModule = torch.jit.script(network)
    except Exception as error:  # TorchScript raises whatever its parts raise: RuntimeError, ValueError, OSError ...
        raise _explain(network, error) from error
    return scripted


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch.jit says of itself at every call: that it is deprecated."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", message=r".*torch\.jit", category=category)
        yield


def _explain(network: nn.Module, error: Exception) -> GanforgeError:
    """Turn TorchScript's pages of text into one line and a rule."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    reason = re.split(r"\. | \(This | at$", lines[0])[0].rstrip(" .:")
    code = next((before for before, line in pairwise(lines) if line.endswith("<--- HERE")), "")
    place = re.search(r'File "(.+)", line (\d+)', text)
    if place:
        where = f"{place[1]}:{place[2]}"
    else:
        try:
            where = f"{inspect.getsourcefile(type(network))}:{inspect.getsourcelines(type(network))[1]}"
        except (OSError, TypeError):  # a class that was typed into an interpreter has no file
            where = type(network).__qualname__
    return GanforgeError(
        f"{type(network).__name__} cannot be compiled by TorchScript: {reason}, at {where}" + (code and f": {code}"),
        next((rule for sign, rule in _RULES if sign in text), "docs/guide/export.md lists what TorchScript takes"),
    )


def _cases(network: Generator, num_classes: int) -> list[Case]:
    """Calls to compare: batches of 1, 7 and 64, with and without labels, truncated and not, as far as they apply.

    Of a generator by styles also its two halves, with each kind of noise.
    """
    labelled = [True, False] if num_classes else [False]
    if num_classes:
        try:
            _call(network, {"z": draw_latents(1, network.z_dim, 0)})
        except Exception:  # a conditional network may insist on labels, in whichever way it likes
            labelled = [True]
    cases: list[Case] = []
    for count, with_labels, psi in product((1, 7, 64), labelled, (0.5, 1.0) if can_truncate(network) else (None,)):
        case: Case = {"z": draw_latents(count, network.z_dim, count)}
        labels = cycle_labels(count, num_classes)
        if with_labels and labels is not None:
            case["labels"] = labels
        if psi is not None:
            case["truncation"] = psi
        cases.append(case)
    if isinstance(network, StyleGenerator):
        few = next(case for case in cases if len(case["z"]) > 1)
        cases += [{**few, "cutoff": 1, "noise": noise} for noise in NOISE_MODES]
    return cases


def _call(network: Generator, case: Case) -> Tensor:
    """The network's output for one case; noise that it draws itself is that of seed 0."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        if isinstance(network, StyleGenerator) and "noise" in case:
            arguments = {name: value for name, value in case.items() if name != "noise"}
            return network.synthesis(network.mapping(**arguments), case["noise"])
        output: Tensor = network(**case)
    return output


def _describe(network: Generator, card: Mapping[str, Any]) -> dict[str, Any]:
    """The card, how to call the network, and who wrote this."""
    shape, num_classes = list(card["data"]["shape"]), len(card["data"]["class_names"])
    inputs: dict[str, Any] = {
        "z": {"shape": ["N", network.z_dim], "dtype": "float32", "meaning": "latents drawn from N(0, 1)"},
        "labels": {"shape": ["N"], "dtype": "int64", "num_classes": num_classes, "meaning": "classes from 0, or None"},
    }
    if can_truncate(network):
        meaning = "1 leaves latents as they are, less brings them nearer to their mean"
        inputs["truncation"] = {"dtype": "float", "range": [0.0, 1.0], "default": 1.0, "meaning": meaning}
    output: dict[str, Any] = {"shape": ["N", *shape], "dtype": "float32", "meaning": "vectors"}
    if len(shape) == 3:
        output |= {"range": [-1.0, 1.0], "meaning": "images"}
    versions = {"ganforge": __version__, "torch": torch.__version__}
    description = {"card": dict(card), "inputs": inputs, "output": output, "versions": versions}
    if isinstance(network, StyleGenerator):
        meaning = "so many of the coarsest layers are truncated; -1 for all"
        inputs["cutoff"] = {"dtype": "int", "range": [-1, network.num_styles], "default": -1, "meaning": meaning}
        meaning = "random, or the same each time: in all layers, in none, or in the coarser or finer half"
        noise = {"dtype": "str", "values": list(NOISE_MODES), "default": "fixed", "meaning": meaning}
        styles = {"shape": ["N", network.num_styles, network.w_dim], "dtype": "float32", "meaning": "styles by layer"}
        description["methods"] = {
            "mapping": {"inputs": dict(inputs), "output": styles},
            "synthesis": {"inputs": {"w": styles, "noise": noise}, "output": output},
        }
        inputs["noise"] = noise
    return description


def _pack(scripted: torch.jit.ScriptModule, description: dict[str, Any]) -> bytes:
    """The file's bytes. Saved to memory, since TorchScript writes the name of a file into the file."""
    card, inputs, output = description["card"], description["inputs"], description["output"]
    summary = {
        "generator": card["generator"]["name"],
        "output": f"{'x'.join(map(str, output['shape'][1:]))} {output['meaning']}",
        "z_dim": inputs["z"]["shape"][1],
        "num_classes": inputs["labels"]["num_classes"],
        "trained": f"{card.get('images', 'unknown')} images",
        "exported": ", ".join(f"{name} {version}" for name, version in description["versions"].items()),
    }
    description["digest"] = digest_tensors(scripted.state_dict())
    texts = {
        "ganforge.json": json.dumps(description, sort_keys=True),
        "summary.txt": "".join(f"{name}: {value}\n" for name, value in summary.items()),
    }
    buffer = io.BytesIO()
    with _quiet():
        torch.jit.save(scripted, buffer, _extra_files=texts)
    return buffer.getvalue()


def _worst_difference(content: bytes, cases: list[Case], expected: list[Tensor]) -> float:
    """Run the file in a fresh process, where neither ganforge nor a plugin can help it, and compare."""
    try:
        outputs = _run(content, cases)
    except (OSError, SafetensorError) as error:
        where = tempfile.gettempdir()
        raise GanforgeError(f"the export cannot be checked in {where}: {error}", "make room there") from error
    worst = 0.0
    for case, output, wanted in zip(cases, outputs, expected, strict=True):
        call = " with ".join([f"a batch of {len(wanted)}", *(name for name in case if name != "z")])
        same_shape = output.shape == wanted.shape
        difference = (output - wanted).abs().max().item() if same_shape else math.inf
        if not difference <= TOLERANCE:  # so that NaN fails too
            raise GanforgeError(
                f"the compiled network differs from the original by {difference:.2g} for {call}",
                "nothing was written; look for what depends on torch.jit.is_scripting() or on Python's own state",
            )
        worst = max(worst, difference)
    return worst


def _run(content: bytes, cases: list[Case]) -> list[Tensor]:
    """The outputs that a process gets which has torch and the file, and nothing else."""
    with tempfile.TemporaryDirectory(prefix="ganforge-export-") as name:
        folder = Path(name)
        (folder / "model.pt").write_bytes(content)
        numbered = [(index, name, value) for index, case in enumerate(cases) for name, value in case.items()]
        tensors = {f"{index}.{name}": value.clone() for index, name, value in numbered if isinstance(value, Tensor)}
        save_file(tensors, folder / "inputs.safetensors")
        plain = [{name: value for name, value in case.items() if not isinstance(value, Tensor)} for case in cases]
        (folder / "inputs.json").write_text(json.dumps(plain))
        command = [sys.executable, "-P", "-W", "ignore", "-c", _CONSUMER, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise GanforgeError(f"the compiled network fails where the original works: {last}", "nothing was written")
        outputs = load_file(folder / "outputs.safetensors")
    return [outputs[str(index)] for index in range(len(cases))]
