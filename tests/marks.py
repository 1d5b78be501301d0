"""Independent readers of the XMP packets in PNG, GIF, WebP and JPEG, by the specifications of the formats."""

import struct
import zlib
from xml.etree import ElementTree

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
XMP = "{http://ns.adobe.com/xap/1.0/}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MIXED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


def png_chunks(content):
    """The chunks of a PNG in order, kind and content; their sums are checked."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    place, chunks = 8, []
    while place < len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        body = content[place + 8 : place + 8 + length]
        assert struct.unpack(">I", content[place + 8 + length : place + 12 + length])[0] == zlib.crc32(kind + body)
        chunks.append((kind, body))
        place += 12 + length
    assert chunks[-1] == (b"IEND", b"")
    return chunks


def png_packets(content):
    start = b"XML:com.adobe.xmp\0\0\0\0\0"  # keyword, not compressed, no language, no translation of the keyword
    return [
        body.removeprefix(start) for kind, body in png_chunks(content) if kind == b"iTXt" and body.startswith(start)
    ]


def webp_packets(content):
    assert content[:4] + content[8:12] == b"RIFFWEBP"
    place, found = 12, []
    while place < len(content):
        kind, length = struct.unpack("<4sI", content[place : place + 8])
        found += [content[place + 8 : place + 8 + length]] if kind == b"XMP " else []
        place += 8 + length + length % 2
    return found


def gif_packets(content):
    """As a reader that knows no XMP goes through the blocks of a GIF; packets lie in blocks of any length."""
    assert content[:6] == b"GIF89a"
    place, found = 13 + (3 << (content[10] % 8 + 1) if content[10] & 0x80 else 0), []
    while content[place] != 0x3B:
        if content[place] == 0x21:
            start, place = place, place + 2
            if content[start + 1 : start + 14] == b"\xff\x0bXMP DataXMP":
                found.append(content[start + 14 : content.index(b"\x01\xff\xfe", start)])
        else:
            assert content[place] == 0x2C
            flags = content[place + 9]
            place += 11 + (3 << (flags % 8 + 1) if flags & 0x80 else 0)
        while content[place]:
            place += 1 + content[place]
        place += 1
    return found


def jpeg_packets(content):
    place, found = 2, []
    while content[place : place + 2] != b"\xff\xda":
        assert content[place] == 0xFF
        length = struct.unpack(">H", content[place + 2 : place + 4])[0]
        body = content[place + 4 : place + 2 + length]
        if content[place + 1] == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            found.append(body.split(b"\0", 1)[1])
        place += 2 + length
    return found


READERS = {b"\x89PNG": png_packets, b"RIFF": webp_packets, b"GIF8": gif_packets, b"\xff\xd8": jpeg_packets}


def read_mark(content):
    """The values of the only packet of a picture by name; empty without a packet."""
    (read,) = [each for start, each in READERS.items() if content.startswith(start)]
    packets = read(content)
    if not packets:
        return {}
    (packet,) = packets
    assert len(packet) < 1024
    (description,) = ElementTree.fromstring(packet).iter(f"{RDF}Description")
    names = {
        f"{XMP}CreatorTool": "tool",
        f"{IPTC}DigitalSourceType": "source",
        f"{IPTC}AISystemUsed": "system",
        f"{IPTC}AISystemVersionUsed": "version",
        f"{IPTC}AIPromptInformation": "prompt",
        f"{RDF}about": "about",
    }
    found = {names[name]: value for name, value in description.attrib.items()}
    assert found.pop("about") == ""
    return found
