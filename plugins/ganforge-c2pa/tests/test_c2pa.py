"""Signatures that the library makes, read by independent code; and what is refused."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ganforge import GanforgeError, OptionError
from ganforge.cli import main
from ganforge.core.images import encode_png, gif_bytes
from ganforge.runs.marking import xmp_packet
from ganforge.testing import check_command
from manifests import change_pixel, read
from PIL import Image

import ganforge_c2pa
from ganforge_c2pa.signing import Signatory, verify

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CARD = {"generator": {"name": "dcgan"}, "digest": "ab" * 32}
PACKET = xmp_packet(CARD, "seeds 7-9")
STATED = f"ganforge dcgan, sha256:{'ab' * 32}, seeds 7-9"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Keys and certificates that the commands of the README make."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing")
    folder = tmp_path_factory.mktemp("keys")
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (commands,) = re.findall(r"```sh\n(openssl.*?)```", readme, re.DOTALL)
    subprocess.run(["sh", "-ec", commands], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def call(capsys, keys, tmp_path, monkeypatch):
    """Run ``ganforge c2pa`` in an empty folder; gives exit code and output."""
    monkeypatch.chdir(tmp_path)

    def call(command, *arguments):
        given = ["--certificate", keys / "chain.pem", "--key", keys / "key.pem"] if command == "sign" else []
        with pytest.raises(SystemExit) as stop:
            main(["c2pa", command, *map(str, [*given, *arguments])])
        shown = capsys.readouterr()
        return stop.value.code or 0, shown.out + shown.err

    return call


def draw(seed=3):
    return Image.linear_gradient("L").resize((24, 16)).rotate(seed).convert("RGB")


def test_a_signed_png_is_verified_by_independent_code_and_a_changed_pixel_is_found(call, keys):
    Path("a.png").write_bytes(encode_png(draw(), PACKET))
    assert call("sign", "a.png") == (0, "a.png\n")
    signed = Path("a.png").read_bytes()
    (action,), signer = read(signed)
    assert signer == "CN=Test signer,O=Test"
    assert {name: action[name] for name in ("action", "digitalSourceType", "description")} == {
        "action": "c2pa.created",
        "digitalSourceType": GENERATED,
        "description": STATED,
    }
    code, text = call("verify", "a.png", "--anchors", keys / "ca.pem")
    unchanged = "a.png: unchanged since it was signed by Test signer, of a trusted issuer"
    assert (code, text) == (0, f"{unchanged}\ntrainedAlgorithmicMedia: {STATED}\n")
    assert "of an issuer that is not among trusted ones" in call("verify", "a.png")[1]
    assert Image.open("a.png").tobytes() == draw().tobytes()

    Path("a.png").write_bytes(change_pixel(signed))
    assert Image.open("a.png").tobytes() != draw().tobytes()
    code, text = call("verify", "a.png", "--anchors", keys / "ca.pem")
    assert code == 2
    assert text.startswith("error: a.png: changed after it was signed: assertion.dataHash.mismatch")
    assert text.count("\n") == 1
    with pytest.raises(AssertionError, match="pixels"):
        read(change_pixel(signed))


@pytest.mark.parametrize("suffix", [".webp", ".jpg", ".gif"])
def test_other_formats_are_signed(call, suffix):
    path = Path(f"a{suffix}")
    if suffix == ".gif":
        path.write_bytes(gif_bytes([draw(), draw(90)], xmp=PACKET))
    else:
        draw().save(path, xmp=PACKET)
    assert call("sign", path)[0] == 0
    found = verify(path)
    assert (found.signer, found.source_type, found.description) == ("Test signer", GENERATED, STATED)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(GanforgeError):
        verify(path)


@pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is missing")
def test_exiftool_reads_the_statement_and_the_marking(call):
    Path("a.png").write_bytes(encode_png(draw(), xmp_packet(CARD, with_real=True)))
    call("sign", "a.png")
    done = subprocess.run(["exiftool", "-json", "-G1", "a.png"], capture_output=True, check=True)
    (found,) = json.loads(done.stdout)
    assert found["CBOR:ActionsAction"] == "c2pa.created"
    both = found["CBOR:ActionsDigitalSourceType"], found["XMP-iptcExt:DigitalSourceType"]
    assert both == (GENERATED.replace("trained", "compositeWithTrained"),) * 2


def test_of_a_folder_only_marked_pictures_are_signed(call):
    for name, packet in (("b/made.png", PACKET), ("photo.png", b""), ("a/made.png", PACKET)):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(encode_png(draw(), packet))
    Path("link.png").symlink_to("b/made.png")
    photo = Path("photo.png").read_bytes()
    assert call("sign", ".") == (0, "a/made.png\nb/made.png\n")
    assert Path("photo.png").read_bytes() == photo
    assert call("sign", ".") == (0, "a/made.png\nb/made.png\n")
    read(Path("b/made.png").read_bytes())  # one manifest: the older one is replaced


def test_what_cannot_be_signed_is_refused_and_stays(call, keys):
    packet = PACKET.replace(b"ganforge dcgan", b"another system")
    for name, content in (("plain", b""), ("other", packet), ("made", PACKET)):
        Path(f"{name}.png").write_bytes(encode_png(draw(), content))
    Path("note.txt").write_bytes(PACKET)
    Path("empty").mkdir()
    plain, made = Path("plain.png").read_bytes(), Path("made.png").read_bytes()
    for name, expected in (
        ("plain.png", "plain.png: is not marked as generated by ganforge"),
        ("other.png", "other.png: is not marked as generated by ganforge"),
        ("missing.png", "FILE missing.png: cannot be read: No such file or directory"),
        ("note.txt", "note.txt: unsupported file type"),
        ("empty", "empty: no picture is marked"),
    ):
        code, text = call("sign", name)
        assert (code, text.count("\n")) == (2, 1)
        assert text.startswith(f"error: {expected}")
    for certificate, key, expected in (
        ("chain.pem", "request.pem", "error: --key .*request.pem: cannot be read"),
        ("extensions.txt", "key.pem", "error: --certificate .*extensions.txt: holds no certificate"),
        ("chain.pem", "ca.key", "error: made.png: cannot be signed"),
        ("nothing.pem", "key.pem", "error: --certificate .*nothing.pem: cannot be read"),
    ):
        code, text = call("sign", "made.png", "--certificate", keys / certificate, "--key", keys / key)
        assert (code, text.count("\n")) == (2, 1), text
        assert re.match(expected, text), text
    code, text = call("verify", "made.png", "--anchors", keys / "key.pem")
    assert (code, text.count("\n")) == (2, 1)
    assert re.match("error: --anchors .*key.pem: holds no certificate", text)
    assert (Path("plain.png").read_bytes(), Path("made.png").read_bytes()) == (plain, made)
    assert call("verify", "plain.png")[1].startswith("error: plain.png: no valid C2PA signature: ManifestNotFound")


def test_keys_of_other_kinds_are_recognized(tmp_path, keys):
    for options, algorithm in (
        (["EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "es384"),
        (["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "ps256"),
        (["ED25519"], "ed25519"),
    ):
        file = tmp_path / "key.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", *options, "-out", file], check=True, capture_output=True)
        assert Signatory.read(keys / "chain.pem", file).algorithm == algorithm
    command = ["openssl", "ecparam", "-name", "secp256k1", "-genkey", "-noout", "-out", tmp_path / "key.pem"]
    subprocess.run(command, check=True)
    with pytest.raises(OptionError, match="unsupported curve"):
        Signatory.read(keys / "chain.pem", tmp_path / "key.pem")


def test_the_command_has_help():
    check_command(ganforge_c2pa.ganforge_commands()["c2pa"])
