"""Examples of any kind: 16-bit and float images, many channels, signals and vectors, from files to sample grids."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge import DataError, PluginError, generate, load, train
from ganforge.cli import main
from ganforge.core.images import png_bytes, to_float, to_pil
from ganforge.data import PackedData, open_data
from ganforge.data.advice import advise
from ganforge.data.check import check_data
from ganforge.training.recording.sample_grids import WAVE_HEIGHT, WAVE_WIDTH, plot_waveforms

RANDOM = np.random.default_rng(0)
KINDS = {
    "16-bit gray": RANDOM.integers(0, 65536, (12, 8, 8), np.uint16),
    "16-bit RGB": RANDOM.integers(0, 65536, (12, 8, 10, 3), np.uint16),
    "six channels": RANDOM.integers(0, 256, (12, 6, 8, 9), np.uint8),
    "float image": RANDOM.uniform(-1, 1, (12, 2, 8, 8)).astype(np.float32),
    "signal": RANDOM.uniform(-1, 1, (12, 2, 50)).astype(np.float64),
    "vector": RANDOM.normal(size=(12, 5)),
}
SHAPES = {
    "16-bit gray": (1, 8, 8),
    "16-bit RGB": (3, 8, 10),
    "six channels": (6, 8, 9),
    "float image": (2, 8, 8),
    "signal": (2, 50),
    "vector": (5,),
}


def call(*arguments):
    with pytest.raises(SystemExit) as done:
        main([str(each) for each in arguments])
    return done.value.code


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def array(kind, tmp_path):
    np.save(tmp_path / "a.npy", KINDS[kind])
    return tmp_path / "a.npy"


def channels_first(kind):
    array = KINDS[kind]
    if kind == "16-bit gray":
        return array[:, None]
    return np.moveaxis(array, 3, 1) if kind == "16-bit RGB" else array


def test_any_array_is_packed_unchanged_and_loaded(array, kind, tmp_path):
    data = open_data(str(array), cache=tmp_path / "cache")
    assert data.spec.shape == SHAPES[kind]
    expected = channels_first(kind)
    assert np.array_equal(data.examples.numpy(), expected.astype(data.examples.numpy().dtype))
    assert data.examples.dtype == (torch.float32 if expected.dtype.kind == "f" else getattr(torch, expected.dtype.name))
    data.save(tmp_path / "packed")
    loaded = PackedData.load(tmp_path / "packed")
    assert loaded.fingerprint == data.fingerprint
    assert loaded.is_intact()
    again = open_data(str(tmp_path / "packed"), cache=tmp_path / "cache")
    assert torch.equal(again.examples, data.examples)
    report = check_data(array)
    assert report.usable, report.problem
    assert report.count == 12
    assert ("--arch mlp" in advise(report).command) == (kind in ("signal", "vector"))


@pytest.mark.parametrize(
    "kind",
    [*(pytest.param(each, marks=pytest.mark.slow) for each in ("16-bit gray", "six channels")), "signal"],
    indirect=True,
)
def test_any_kind_trains_resumes_and_samples(array, kind, tmp_path, capsys):
    settings = {"training.batch": 4, "generator.hidden": (8,), "discriminator.hidden": (8,), "training.tick_images": 4}
    given = {"arch": "mlp", "data": str(array), "settings": settings, "device": "cpu", "quiet": True}
    whole = train(images=8, out=tmp_path / "whole", **given)
    parts = train(images=4, out=tmp_path / "parts", **given).resume(images=8, quiet=True)
    ours, theirs = load(parts).state_dict(), load(whole).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert generate(load(whole), 3).shape == (3, *SHAPES[kind])
    assert whole.show().size > (1, 1)
    assert call("sample", whole.path, "--count", "3", "--out", tmp_path) == 0
    written = capsys.readouterr().out.strip().splitlines()[-1]
    assert written.endswith(".npy" if kind in ("six channels", "signal", "vector") else ".png")
    if written.endswith(".npy"):
        assert np.load(written).shape == (3, *SHAPES[kind])
    if kind == "six channels":
        assert call("report", whole.path) == 0


def test_sixteen_bits_are_exact_in_float():
    values = torch.arange(65536).to(torch.uint16)
    floats = to_float(values)
    assert (floats.min(), floats.max()) == (-1, 1)
    assert torch.equal(floats.add(1).mul(32767.5).round().to(torch.int32), torch.arange(65536, dtype=torch.int32))
    assert to_float(floats) is floats


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_pictures_of_16_bits_keep_them(tmp_path, suffix):
    folder = tmp_path / "deep"
    folder.mkdir()
    for index, image in enumerate(KINDS["16-bit gray"]):
        Image.fromarray(image).save(folder / f"{index:02}.{suffix}")
    data = open_data(str(folder), cache=tmp_path / "cache")
    assert np.array_equal(data.examples.numpy(), KINDS["16-bit gray"][:, None])
    assert "16-bit gray" in check_data(folder).training
    assert data.read_pixels(torch.tensor([3]))[0, 0, 0, 0] == round(KINDS["16-bit gray"][3, 0, 0] / 257)
    small = open_data(str(folder), resolution=4, cache=tmp_path / "cache")
    assert small.examples.dtype == torch.uint16
    mean = KINDS["16-bit gray"].reshape(12, 4, 2, 4, 2).mean((2, 4))
    assert np.corrcoef(mean.ravel(), small.examples.numpy().ravel())[0, 1] > 0.9


def test_a_mix_with_8_bits_becomes_8_bits(tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    deep = KINDS["16-bit gray"][0]
    Image.fromarray(deep).save(folder / "0.png")
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(folder / "1.png")
    data = open_data(str(folder), cache=tmp_path / "cache")
    assert data.examples.dtype == torch.uint8
    assert data.spec.shape == (3, 8, 8)
    assert np.array_equal(data.examples[0, 2].numpy(), np.round(deep / 257).astype(np.uint8))


def test_arrays_of_other_channels_are_cropped_and_resized(tmp_path):
    ramp = np.linspace(-1, 1, 16, dtype=np.float32)
    array = np.broadcast_to(ramp[:, None], (3, 5, 16, 24))
    np.save(tmp_path / "a.npy", array)
    data = open_data(str(tmp_path / "a.npy"), resolution=8, cache=tmp_path / "cache")
    assert data.spec.shape == (5, 8, 8)
    pairs = ramp.reshape(8, 2).mean(1)
    assert np.abs(data.examples[0, 0, :, 4].numpy() - pairs).max() < 0.05
    assert data.examples.abs().max() <= 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((3, 2, 9), 1.5), "ranges from 1.5 to 1.5"),
        (np.full((3, 8, 8, 3), 200.0), "ranges from 200 to 200"),
        (np.full((3, 2, 9), np.nan), "non-finite"),
        (np.zeros((3, 8, 8, 8), np.uint8), "channel axis .* is ambiguous"),
        (np.zeros((3, 8, 8), np.int32), "unsupported array"),
    ],
)
def test_other_values_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message):
        open_data(str(tmp_path / "a.npy"), cache=tmp_path / "cache")


def test_signals_have_no_resolution_and_one_length(tmp_path):
    np.save(tmp_path / "a.npy", KINDS["signal"])
    with pytest.raises(DataError, match="holds signals, which have no resolution"):
        open_data(str(tmp_path / "a.npy"), resolution=8, cache=tmp_path / "cache")
    with pytest.raises(DataError, match="signals differ in length: \\[4, 5\\]"):
        open_items([np.zeros((1, 4), np.float32), np.zeros((1, 5), np.float32)])
    with pytest.raises(DataError, match="mixes images and signals"):
        open_items([np.zeros((1, 4), np.float32), np.zeros((4, 4), np.uint8)])
    with pytest.raises(DataError, match="mixes float and integer images"):
        open_items([np.zeros((4, 4, 1), np.float32), np.zeros((4, 4), np.uint8)])
    with pytest.raises(PluginError, match="int32"):
        open_items([np.zeros((4, 4), np.int32)])


def open_items(items):
    from ganforge.plugins.loading import Plugin
    from ganforge.plugins.registry import Registry

    registry = Registry([Plugin("here", "this test", "", "ok", parts={"dataset": {"given": lambda: items}})])
    return open_data("given", registry=registry)


# Pictures.


def test_a_waveform_shows_every_peak():
    signal = torch.zeros(2, 1, 10_000)
    signal[0, 0, 5_010] = 1.0  # one sample
    pictures = plot_waveforms(signal)
    assert pictures.shape == (2, 3, WAVE_HEIGHT, WAVE_WIDTH)
    ink = (pictures.float() - pictures[1, :, 0, 0].float()[None, :, None, None]).abs().sum(1) > 0
    assert ink[0, 0].sum() == 1  # the peak reaches the top in one column
    assert ink[1].any(0).all()  # the line at 0 is connected
    assert not ink[1, 0].any()
    assert plot_waveforms(torch.zeros(1, 9, 3)).shape == (1, 3, 4 * WAVE_HEIGHT, WAVE_WIDTH)


def test_three_of_many_channels_are_shown():
    pixels = torch.arange(6, dtype=torch.uint8)[:, None, None].expand(6, 2, 2)
    assert to_pil(pixels).getpixel((0, 0)) == (0, 3, 5)
    with Image.open(io.BytesIO(png_bytes(pixels))) as picture:
        assert picture.mode == "RGB"


def test_metrics_refuse_signals_in_one_line(tmp_path, capsys):
    np.save(tmp_path / "a.npy", KINDS["signal"])
    settings = {"training.batch": 4, "generator.hidden": (8,), "discriminator.hidden": (8,)}
    run = train(
        arch="mlp", data=str(tmp_path / "a.npy"), images=8, settings=settings, device="cpu", out=tmp_path, quiet=True
    )
    for metric in ("--fid", "--memorization", "--modes"):
        assert call("eval", run.path, metric, "--samples", "8") == 2, metric
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert error.strip().splitlines()[-1].startswith("error: ")
