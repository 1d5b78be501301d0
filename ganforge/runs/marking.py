"""Marking of generated pictures: an XMP packet that names generator, digest and seeds.

The properties are those of the IPTC Photo Metadata Standard 2025.1 (https://iptc.org/standards/photo-metadata/), so
that common readers show them. A packet holds no time: the same picture has the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ganforge.core.text import escape_html
from ganforge.version import __version__

_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"

_PACKET = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"{}/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)

_MAX_NAME, _MAX_SPANS = 32, 6
"""Maximum characters of a generator's name, and of spans of seeds, so that a packet has less than 1 KB."""


def xmp_packet(card: Mapping[str, Any], prompt: str = "", *, with_real: bool = False) -> bytes:
    """Return the XMP packet of a picture of generated images, less than 1 KB of UTF-8.

    Args:
        card: Card of the generator with its digest; a generator with source images modifies existing pictures.
        prompt: Input of the generator, such as the text of `name_seeds`; empty if unknown.
        with_real: Whether the picture shows real images too.
    """
    is_composite = with_real or bool(card.get("data", {}).get("source_shape"))
    digest = card.get("digest")
    values = {
        "xmp:CreatorTool": f"ganforge {__version__}",
        "Iptc4xmpExt:DigitalSourceType": _SOURCE_TYPES
        + ("compositeWithTrainedAlgorithmicMedia" if is_composite else "trainedAlgorithmicMedia"),
        "Iptc4xmpExt:AISystemUsed": f"ganforge {card['generator']['name'][:_MAX_NAME]}",
        "Iptc4xmpExt:AISystemVersionUsed": f"sha256:{digest}" if digest else "",
        "Iptc4xmpExt:AIPromptInformation": prompt,
    }
    return _PACKET.format("".join(f' {name}="{escape_html(text)}"' for name, text in values.items() if text)).encode()


def name_seeds(seeds: Iterable[int]) -> str:
    """Return seeds in order as text, such as ``seed 7``, ``seeds 0-63`` or ``seeds 3, 7``; empty without seeds."""
    spans: list[tuple[int, int]] = []
    for seed in seeds:
        if spans and seed == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], seed)
        else:
            spans.append((seed, seed))
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    if len(texts) > _MAX_SPANS:
        texts[_MAX_SPANS:] = ["..."]
    is_one = len(spans) == 1 and spans[0][0] == spans[0][1]
    return f"seed{'' if is_one else 's'} {', '.join(texts)}" if spans else ""
