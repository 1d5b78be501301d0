"""Model card of a generator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ganforge import OptionError, describe_origin
from huggingface_hub import ModelCardData

_LICENSES = [
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "unlicense"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
]
"""Names of licenses on the hub that recorded ones are compared with."""

_USE = """\
```sh
pip install {packages}
ganforge hub pull {repo}
ganforge sample {folder}/generator.safetensors
```

```python
import ganforge
from ganforge_huggingface import from_pretrained

generator = from_pretrained("{repo}")
images = ganforge.generate(generator, 16, seed=0{labels})  # float32 [16, C, H, W] in [-1, 1]
```
"""


def write_card(
    card: Mapping[str, Any], *, title: str, license_name: str, dataset: str, repo: str, samples: str | None
) -> str:
    """Return the model card, Markdown with a YAML header.

    Args:
        card: Card of the generator's checkpoint.
        title: Heading; empty for the default.
        license_name: License by the hub's name; empty for the one that is recorded for an imported file.
        dataset: Name on the hub; empty to omit it.
        repo: Repository, ``user/name``.
        samples: File of the samples, or None.

    Raises:
        OptionError: The weights have another license than `license_name`.
    """
    part, data = card["generator"], card["data"]
    is_image, is_paired = len(data["shape"]) == 3, bool(data.get("source_shape"))
    task = "image-to-image" if is_paired else "unconditional-image-generation" if is_image else None
    known, other = _find_license(card, license_name)
    head = ModelCardData(
        library_name="ganforge",
        license=known,
        license_name=other,
        datasets=[dataset] if dataset else None,
        pipeline_tag=task if not data["class_names"] else None,
        tags=list(dict.fromkeys(filter(None, ["gan", "ganforge", part["name"], card.get("recipe")]))),
    ).to_yaml()
    text = [f"---\n{head}\n---\n", f"# {title or _title(card)}\n"]
    if samples:
        text.append(f"![Samples, not hand-picked]({samples})\n")
    text.append(f"A generative adversarial network, {_made(card)}.\n")
    text.append("\n".join(f"- {name}: {words}" for name, words in _facts(card)) + "\n")
    text.append(_origin(card, license_name))
    if is_image and not is_paired:
        packages = ["ganforge-huggingface"]
        if (distribution := part.get("distribution")) not in (None, "", "ganforge"):
            packages.append(distribution)
        labels = ", labels=torch.zeros(16, dtype=torch.int64)" if data["class_names"] else ""
        if numbers := data.get("numbers"):
            labels = f", labels=torch.tensor([{[each['mean'] for each in numbers]}] * 16)"
        use = _USE.format(packages=" ".join(packages), labels=labels, repo=repo, folder=repo.rpartition("/")[2])
        text += ["## Use\n", use.replace("import ganforge\n", "import ganforge\nimport torch\n") if labels else use]
    return "\n".join(text)


def _title(card: Mapping[str, Any]) -> str:
    return f"{card.get('recipe') or card['generator']['name']} of {card['data'].get('name', 'data')}"


def _made(card: Mapping[str, Any]) -> str:
    if "imported" in card and "initialized_from" not in card:
        return "imported by ganforge from another program"
    return "trained with ganforge" + (f" on {card['images']:,} images" if isinstance(card.get("images"), int) else "")


def _find_license(card: Mapping[str, Any], given: str) -> tuple[str | None, str | None]:
    """Return the license for the header by the hub's name, or ``other`` and its own name."""
    recorded = describe_origin(card)["license"]
    if "imported" not in card or recorded == "unknown":
        return given or ("unknown" if "imported" in card else None), None
    name = recorded.lower()
    if given and given.lower() not in (name, "other"):
        raise OptionError(
            f"huggingface.license={given}: the imported weights have license {recorded}",
            "omit it, or record another license by `ganforge import --license`",
        )
    if name in _LICENSES:
        return name, None
    return "other", re.sub(r"[^a-z0-9.]+", "-", name).strip("-") or None


def _origin(card: Mapping[str, Any], license_name: str) -> str:
    """Return a section about license, source and digest of the weights."""
    facts = describe_origin(card)
    if license_name:
        facts["license"] = license_name
    if facts["license"] == "unknown":
        facts["license"] += "; ask the authors of the weights before you use them or pass them on"
    facts["digest"] = f"{card.get('digest')}, of the tensors in the file"
    names = {"sha256": "SHA-256 of the source", "initialized_from": "initialized from"}
    lines = "\n".join(f"- {names.get(name, name)}: {_escape(text)}" for name, text in facts.items())
    return f"## Origin of the weights\n\n{lines}\n"


def _escape(text: str) -> str:
    """Escape what Markdown and HTML interpret in text of a file."""
    return re.sub(r"([\\`*\[\]<>&|#!])", r"\\\1", text)


def _facts(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    part, data = card["generator"], card["data"]
    facts = [("output", _output(data["shape"]))]
    if data["class_names"]:
        names = data["class_names"]
        facts.append(("classes", ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")))
    if data.get("numbers"):
        facts.append(("condition vector", ", ".join(each["name"] for each in data["numbers"][:20])))
    if data.get("name"):
        known = f", {data['num_examples']:,} examples" if "num_examples" in data else ""
        facts.append(("data", f"{data['name']}{known}"))
    options = ", ".join(f"{name} {value}" for name, value in part["options"].items())
    facts.append(("generator", f"`{part['name']}`{f' ({options})' if options else ''}"))
    score = card.get("score")
    if score:
        facts.append(("score", f"{score['metric']} {score['value']:.4g}"))
    for key in ("recipe", "seed", "ganforge"):
        if card.get(key) is not None:
            facts.append((key if key != "ganforge" else "ganforge version", f"{card[key]}"))
    return facts


def _output(shape: list[int]) -> str:
    if len(shape) != 3:
        return f"vectors of {shape[0]} numbers"
    return f"images of {shape[2]} x {shape[1]} pixels, {'gray' if shape[0] == 1 else f'{shape[0]} channels'}"
