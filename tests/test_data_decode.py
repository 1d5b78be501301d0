"""Every row of the table of hard files: each becomes the picture a person would see, or an error that names it."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ganforge.contract.errors import DataError
from ganforge.data.decode import HEIF, fit, normalize, open_image, open_picture, picture_shape, strict_decoding


def encode(image, format="PNG", **options):
    stream = BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def decode(content, name="it.png"):
    return normalize(open_image(BytesIO(content), name), name)


def ramp(height=40, width=60):
    """A picture that no turn or flip leaves as it is."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack((rows * 4, columns * 4, (rows * 7 + columns * 3) % 256), axis=2).astype(np.uint8)


def png_header(width, height):
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
    )


@pytest.mark.parametrize(
    ("format", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("PPM", {})]
)
def test_lossless_formats_keep_every_pixel(format, options):
    assert np.array_equal(decode(encode(Image.fromarray(ramp()), format, **options)), ramp())


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_lossy_formats_keep_the_picture(format):
    smooth = np.stack([np.outer(np.linspace(20, 230, 48), np.ones(64))] * 3, axis=2).astype(np.uint8)
    decoded = np.asarray(decode(encode(Image.fromarray(smooth), format)), dtype=float)
    assert decoded.shape == (48, 64, 3)
    assert np.abs(decoded - smooth).mean() < 4


@pytest.mark.slow  # in the environment of the slow tests the package is installed
def test_a_photo_of_a_phone_is_upright():
    pytest.importorskip("pillow_heif", reason='needs pip install "ganforge[heic]"')
    smooth = np.stack([np.outer(np.linspace(20, 230, 48), np.ones(64))] * 3, axis=2).astype(np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright: turn it by 90 degrees clockwise
    content = encode(Image.fromarray(smooth), "HEIF", quality=95, exif=turned.tobytes())
    picture = open_image(BytesIO(content), "photo.heic")
    assert picture_shape(picture) == (64, 48, 3)
    decoded = np.asarray(normalize(picture, "photo.heic"), dtype=float)
    assert np.abs(decoded - np.rot90(smooth, -1)).mean() < 4


def test_the_content_decides_not_the_suffix():
    assert decode(encode(Image.fromarray(ramp()), "BMP"), "really.jpg").size == (60, 40)


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_truncated_file_is_an_error_that_names_it(format):
    content = encode(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), format)
    with pytest.raises(DataError, match=r"cut\.x: cannot be decoded"):
        decode(content[: len(content) // 2], "cut.x")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><title>404</title>", "web page"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "unsupported image format" if HEIF else r"HEIC.*ganforge\[heic\]"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unsupported image format"),
        (b"\x80\x04K*.", "unsupported image format"),
        (b"PK\x03\x04", "this is a zip"),
    ],
)
def test_what_is_no_picture_is_named_for_what_it_is(content, reason):
    with pytest.raises(DataError, match=rf"photo\.jpg: .*{reason}") as error:
        decode(content, "photo.jpg")
    assert "0x" not in str(error.value)


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (10_000, 10_000)])
def test_a_decompression_bomb_is_an_error_even_where_pillow_only_warns(width, height):
    with strict_decoding(), pytest.raises(DataError, match=r"bomb\.png"):
        decode(png_header(width, height), "bomb.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_large_bomb_is_an_error_without_strict_decoding_too():
    with pytest.raises(DataError, match="10000 x 10000 pixels"):
        decode(png_header(10_000, 10_000))


def scans_of(content):
    """Where each scan of a JPEG starts, and where the last one ends."""
    return [place for place in range(len(content) - 1) if content[place : place + 2] in (b"\xff\xda", b"\xff\xd9")]


def test_a_jpeg_that_is_decoded_over_and_over_is_an_error():
    content = encode(Image.new("L", (64, 64), 77), "JPEG", progressive=True)
    *_, last, end = scans_of(content)
    bomb = content[:end] + content[last:end] * 150 + content[end:]
    with pytest.raises(DataError, match=r"bomb\.jpg: JPEG with more than 100 scans"):
        open_picture(bomb, "bomb.jpg")
    few = content[:end] + content[last:end] * 20 + content[end:]
    assert normalize(open_picture(few, "few.jpg"), "few.jpg").getpixel((9, 9)) == 77


def test_what_only_looks_like_a_scan_is_none():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    exif = Image.Exif()
    exif[0x010E] = "\xff\xda" * 500  # within a segment
    content = encode(picture, "JPEG", exif=exif, comment=b"\xff\xda" * 500) + b"\xff\xda" * 500  # and behind the end
    assert normalize(open_picture(content, "x"), "x").size == (64, 64)


def test_16_bit_grey_is_scaled_not_clipped():
    values = np.array([[0, 128, 257, 32_768, 65_535]], dtype=np.uint16)
    decoded = decode(encode(Image.fromarray(values)))
    assert decoded.mode == "L"
    assert np.array_equal(decoded, np.round(values / 257))


def test_16_bit_grey_of_both_byte_orders_is_the_same():
    values = np.arange(0, 65_536, 1_000, dtype=np.uint16).reshape(1, -1)
    little = decode(encode(Image.frombytes("I;16", (66, 1), values.astype("<u2").tobytes()), "TIFF"))
    big = decode(encode(Image.frombytes("I;16B", (66, 1), values.astype(">u2").tobytes()), "TIFF"))
    assert np.array_equal(little, big)
    assert np.asarray(little).max() > 250


@pytest.mark.parametrize("mode", ["I", "F"])
def test_wide_integers_and_floats_on_the_16_bit_scale_are_scaled(mode):
    values = np.array([[0, 1_000, 40_000, 65_535]], dtype=np.int32 if mode == "I" else np.float32)
    image = Image.fromarray(values)
    assert image.mode == mode
    assert np.array_equal(normalize(image, "x"), np.round(values / 257))


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_floats_on_the_other_usual_scales_are_scaled(scale):
    values = np.linspace(0, 1, 9, dtype=np.float32).reshape(1, -1) * np.float32(scale)
    decoded = decode(encode(Image.fromarray(values), "TIFF"))
    assert np.array_equal(decoded, np.round(np.linspace(0, 255, 9)).reshape(1, -1))


@pytest.mark.parametrize("values", [[-1.0, 5.0], [0.0, 70_000.0], [0.0, np.nan], [0.0, np.inf]])
def test_values_without_a_known_scale_are_an_error(values):
    image = Image.fromarray(np.array([values], dtype=np.float32))
    with pytest.raises(DataError, match=r"heights\.tif: values from"):
        normalize(image, "heights.tif")


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_transparent_colours_are_put_on_white(alpha):
    image = Image.new("RGBA", (3, 2), (200, 40, 0, alpha))
    decoded = decode(encode(image))
    assert decoded.mode == "RGB"
    expected = np.array([200, 40, 0]) * alpha / 255 + 255 * (1 - alpha / 255)
    assert np.abs(np.asarray(decoded) - expected).max() <= 1


@pytest.mark.parametrize("alpha", [0, 255])
def test_transparent_grey_is_put_on_white_and_stays_grey(alpha):
    decoded = decode(encode(Image.new("LA", (3, 2), (90, alpha))))
    assert decoded.mode == "L"
    assert set(np.asarray(decoded).ravel()) == {90 if alpha else 255}


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_a_colour_that_is_declared_transparent_becomes_white(mode):
    image = Image.new(mode, (2, 1))
    image.putpixel((1, 0), 1 if mode == "1" else 50 if mode == "L" else (50, 60, 70))
    black = (0, 0, 0) if mode == "RGB" else 0
    decoded = np.asarray(decode(encode(image, transparency=black)))
    assert (decoded[0, 0] == 255).all()
    assert np.array_equal(decoded[0, 1], {"1": 255, "L": 50, "RGB": [50, 60, 70]}[mode])


def test_a_palette_with_a_transparent_entry_is_put_on_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert np.array_equal(decode(encode(image, transparency=0)), [[[255, 255, 255], [40, 50, 60]]])
    assert np.array_equal(decode(encode(image)), [[[10, 20, 30], [40, 50, 60]]])


def test_1_bit_is_black_and_white():
    image = Image.fromarray(np.array([[True, False, True]]))
    decoded = decode(encode(image))
    assert decoded.mode == "L"
    assert np.asarray(decoded).tolist() == [[255, 0, 255]]


def test_cmyk_becomes_rgb():
    decoded = decode(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = np.asarray(decoded)[8, 8]
    assert decoded.mode == "RGB"
    assert red > 200
    assert green < 60
    assert blue < 60


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    content = encode(frames[0], format, save_all=True, append_images=frames[1:])
    red, _, blue = np.asarray(decode(content))[4, 4]
    assert red > 240
    assert blue < 16


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_a_picture_is_turned_as_its_exif_data_say(orientation, format):
    image = Image.fromarray(ramp())
    exif = Image.Exif()
    exif[0x0112] = orientation
    # What a camera held so would have stored, by definition of the eight orientations.
    stored = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](ramp())
    content = encode(Image.fromarray(np.ascontiguousarray(stored)), format, exif=exif)
    decoded = np.asarray(decode(content), dtype=float)
    assert decoded.shape == (40, 60, 3)
    assert np.abs(decoded - np.asarray(image)).mean() < (12 if format == "JPEG" else 1e-9)


def test_a_header_tells_the_shape_after_turning():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(Image.fromarray(ramp(40, 60)), "JPEG", exif=exif)
    assert picture_shape(open_image(BytesIO(content), "x")) == (60, 40, 3)
    assert picture_shape(open_image(BytesIO(encode(Image.new("1", (5, 3)))), "x")) == (3, 5, 1)


def test_a_broken_exif_block_leaves_the_picture_as_it_is():
    content = encode(Image.fromarray(ramp()), "JPEG", exif=b"Exif\0\0" + b"not a TIFF header at all")
    assert decode(content).size == (60, 40)


def test_what_is_given_is_not_changed():
    image = Image.fromarray(ramp())
    image.getexif()[0x0112] = 6
    normalize(image, "x")
    assert image.size == (60, 40)


@pytest.mark.parametrize(("width", "height"), [(61, 40), (40, 60), (41, 60), (40, 40)])
def test_the_central_square_is_cropped(width, height):
    pixels = np.arange(width * height, dtype=np.uint32).reshape(height, width) % 251
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    fitted = fit(Image.fromarray(pixels.astype(np.uint8)), (side, side))
    assert np.array_equal(fitted, pixels[top : top + side, left : left + side])


def test_shrinking_does_not_alias():
    fine = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.asarray(fit(Image.fromarray(fine), (37, 37))).std() < 3


def test_resizing_is_the_lanczos_filter():
    # Independent: Lanczos with three lobes, stretched by the factor, one axis after the other.
    source = np.random.default_rng(0).integers(0, 256, (30, 30)).astype(np.uint8)
    factor = 30 / 12
    centers = (np.arange(12) + 0.5) * factor
    distance = (np.arange(30) + 0.5 - centers[:, None]) / factor
    weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    weights /= weights.sum(1, keepdims=True)
    expected = (weights @ source @ weights.T).clip(0, 255)
    assert np.abs(np.asarray(fit(Image.fromarray(source), (12, 12))) - expected).max() <= 1.5
