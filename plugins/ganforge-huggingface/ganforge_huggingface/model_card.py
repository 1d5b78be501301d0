"""Model card of a generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCardData

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
        license_name: License by the hub's name; empty to omit it.
        dataset: Name on the hub; empty to omit it.
        repo: Repository, ``user/name``.
        samples: File of the samples, or None.
    """
    part, data = card["generator"], card["data"]
    is_image, is_paired = len(data["shape"]) == 3, bool(data.get("source_shape"))
    task = "image-to-image" if is_paired else "unconditional-image-generation" if is_image else None
    head = ModelCardData(
        library_name="ganforge",
        license=license_name or None,
        datasets=[dataset] if dataset else None,
        pipeline_tag=task if not data["class_names"] else None,
        tags=list(dict.fromkeys(filter(None, ["gan", "ganforge", part["name"], card.get("recipe")]))),
    ).to_yaml()
    text = [f"---\n{head}\n---\n", f"# {title or _title(card)}\n"]
    if samples:
        text.append(f"![Samples, not hand-picked]({samples})\n")
    text.append(f"A generative adversarial network, trained with ganforge{_seen(card)}.\n")
    text.append("\n".join(f"- {name}: {words}" for name, words in _facts(card)) + "\n")
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


def _seen(card: Mapping[str, Any]) -> str:
    return f" on {card['images']:,} images" if isinstance(card.get("images"), int) else ""


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
