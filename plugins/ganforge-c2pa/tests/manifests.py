"""An independent reader of C2PA in PNG, from the specification: JUMBF boxes, CBOR, hashes and the COSE signature."""

import hashlib
import struct
import zlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils


def chunks(png):
    """The chunks of a PNG: start, kind and content."""
    place = 8
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        yield place, kind, png[place + 8 : place + 8 + length]
        place += 12 + length


def change_pixel(png):
    """The PNG with the lowest bit of its last value flipped; all other chunks stay."""
    new = png[:8]
    data = bytearray(zlib.decompress(b"".join(body for _, kind, body in chunks(png) if kind == b"IDAT")))
    data[-1] ^= 1
    packed = zlib.compress(bytes(data))
    for _, kind, body in chunks(png):
        content = (packed if kind == b"IDAT" else body) if packed or kind != b"IDAT" else None
        packed = b"" if kind == b"IDAT" else packed
        if content is not None:
            new += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return new


def boxes(content):
    """Boxes of JUMBF: type, and content."""
    place = 0
    while place < len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        yield kind, content[place + 8 : place + length]
        place += length


def labeled(content):
    """The boxes in a superbox by label, each as its whole content."""
    found = {}
    for kind, body in boxes(content):
        if kind == b"jumb":
            (_, description), *_ = boxes(body)
            found[description[17:].split(b"\0")[0].decode()] = body
    return found


def inner(superbox):
    """The content of the box after the description."""
    return list(boxes(superbox))[1][1]


def cbor(content, place=0):
    """Decode one item of CBOR (RFC 8949), as c2pa writes it; returns it and the place after it."""
    kind, size = content[place] >> 5, content[place] & 31
    place += 1
    if size >= 24:
        width = 1 << (size - 24)
        size, place = int.from_bytes(content[place : place + width], "big"), place + width
    if kind in (0, 1):
        return (size if kind == 0 else -1 - size), place
    if kind in (2, 3):
        text = content[place : place + size]
        return (text if kind == 2 else text.decode()), place + size
    if kind in (4, 5):
        items = []
        for _ in range(size * (kind - 3)):
            item, place = cbor(content, place)
            items.append(item)
        return (items if kind == 4 else dict(zip(items[::2], items[1::2], strict=True))), place
    if kind == 6:
        return cbor(content, place)
    return {20: False, 21: True, 22: None}[size], place


def encode_bytes(content):
    return b"\x59" + struct.pack(">H", len(content)) + content if len(content) > 255 else _short(content)


def _short(content):
    return (bytes([0x40 + len(content)]) if len(content) < 24 else b"\x58" + bytes([len(content)])) + content


def read(png):
    """The actions of a signed PNG, and the subject of the signer; an AssertionError names what does not fit."""
    ((start, _, store),) = [each for each in chunks(png) if each[1] == b"caBX"]
    ((_, top),) = boxes(store)
    (manifest,) = labeled(top).values()
    parts = labeled(manifest)
    claim_bytes = inner(parts["c2pa.claim.v2"])
    claim, assertions = cbor(claim_bytes)[0], labeled(parts["c2pa.assertions"])
    for each in claim["created_assertions"]:
        name = each["url"].rpartition("/")[2]
        assert hashlib.sha256(assertions[name]).digest() == each["hash"], f"assertion {name}"
    binding = cbor(inner(assertions["c2pa.hash.data"]))[0]
    (excluded,) = binding["exclusions"]
    assert (excluded["start"], excluded["length"]) == (start, len(store) + 12), "only the manifest is excluded"
    rest = png[:start] + png[start + len(store) + 12 :]
    assert hashlib.sha256(rest).digest() == binding["hash"], "pixels"
    protected, _, payload, signature = cbor(inner(parts["c2pa.signature"]))[0]
    assert payload is None
    header = cbor(protected)[0]
    assert header[1] == -7, "ES256"
    signer = x509.load_der_x509_certificate(header[33][0])
    signed = b"\x84\x6aSignature1" + encode_bytes(protected) + b"\x40" + encode_bytes(claim_bytes)
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    signer.public_key().verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    issuer = x509.load_der_x509_certificate(header[33][1])
    signer.verify_directly_issued_by(issuer)
    return cbor(inner(assertions["c2pa.actions.v2"]))[0]["actions"], signer.subject.rfc4514_string()
