"""The page of a running run: its samples and numbers, only for this machine."""

import base64
import threading
import urllib.error
import urllib.request

import pytest

from ganforge.session.preview import serve
from ganforge.session.terminal import Display


def read(address, **headers):
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60) as answer:
        return answer.read().decode(), answer.headers


def test_the_page_shows_the_newest_samples_and_numbers(tmp_path, capsys):
    picture = tmp_path / "grid.png"
    picture.write_bytes(b"a picture")
    with Display(tmp_path / "log.txt", 100, None, preview=True) as display:
        address = capsys.readouterr().err.split()[-1]
        assert "<img" not in read(address)[0]
        display.tick(
            {"images": 20, "seconds": 1.0, "images_per_second": 2.5, "generator/<loss>": 1.5, "picture": str(picture)}
        )
        page, headers = read(address)
    assert base64.b64encode(b"a picture").decode() in page
    assert "<th>generator/&lt;loss&gt;</th><td>1.5</td>" in page
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    with pytest.raises(urllib.error.URLError):
        read(address)
    assert "loopback" not in [each.name for each in threading.enumerate()]


@pytest.mark.parametrize(
    ("path", "headers"), [("log.txt", {}), ("../log.txt", {}), ("", {"Host": "evil.example"}), ("?a=1", {})]
)
def test_nothing_else_is_served(path, headers):
    with serve(lambda: "secret") as address:
        assert address.startswith("http://127.0.0.1:")
        with pytest.raises(urllib.error.HTTPError) as error:
            read(address + path, **headers)
        assert error.value.code == 404
        assert b"secret" not in error.value.read()
