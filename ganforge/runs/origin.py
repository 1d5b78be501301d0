"""Origin of a generator's weights: files and runs that they come from, and their license."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganforge.core.atomic_files import replacing
from ganforge.core.text import escape_controls

ORIGIN = ("imported", "initialized_from")
"""Fields of a card about the origin of weights."""

IMPORTED = "imported"
"""Name of the data of an imported run, which are unknown."""

UNKNOWN = "unknown"
"""License or source of an imported file for which none was given."""

_LONGEST = 300
"""Maximum length of a fact in characters."""


def derive_origin(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the card of a run that starts from the weights of another card.

    Args:
        card: Card of a checkpoint or a generator. What is known of an imported file is kept, with its license.
    """
    of_generator = _fields(card, "generator") if card.get("kind") == "checkpoint" else card
    start = {
        "digest": card.get("digest"),
        "generator": _fields(of_generator, "generator").get("name"),
        "data": _fields(of_generator, "data").get("name"),
        "images": card.get("images"),
    }
    return {"initialized_from": start, **({"imported": of_generator["imported"]} if "imported" in of_generator else {})}


def describe_origin(card: Mapping[str, Any]) -> dict[str, str]:
    """Return facts about the origin of weights: ``license``, and if known ``origin``, ``sha256``, ``initialized_from``.

    Args:
        card: Card of a generator.

    Returns:
        Printable texts. The license is ``unknown`` for an imported file without a given one, that of the card for
        a shipped generator, and ``not stated`` for other runs.
    """
    imported, start = _fields(card, "imported"), _fields(card, "initialized_from")
    own = card.get("license", "not stated")
    facts = {"license": imported.get("license", UNKNOWN) if imported else own}
    if imported:
        source = imported.get("source", UNKNOWN)
        known = f" from {source}" if source != UNKNOWN else ", from an unknown source"
        facts |= {"origin": f"{imported.get('file')}{known}", "sha256": imported.get("sha256")}
    if start:
        facts["initialized_from"] = (
            f"{start.get('generator')} of {start.get('data')} after {start.get('images')} images, digest "
            f"{start.get('digest')}"
        )
    return {name: escape_controls(str(each))[:_LONGEST] for name, each in facts.items()}


def write_origin(path: Path, card: Mapping[str, Any]) -> Path:
    """Write the origin of exported weights as JSON, into an exported folder or beside an exported file.

    Args:
        path: The folder or file.
        card: Card of the generator.
    """
    target = path / "origin.json" if path.is_dir() else path.with_suffix(".origin.json")
    names = (*ORIGIN, "generator", "recipe", "data", "images", "digest", "ganforge")
    content = {"license": describe_origin(card)["license"], **{name: card[name] for name in names if name in card}}
    with replacing(target) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return target


def _fields(card: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = card.get(name)
    return found if isinstance(found, Mapping) else {}
