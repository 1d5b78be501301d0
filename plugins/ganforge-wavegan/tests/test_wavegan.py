"""The networks, phase shuffle, WAV files, and a run."""

import math
import wave

import ganforge
import numpy as np
import pytest
import torch
from ganforge import DataError, DataSpec, OptionError
from ganforge.cli import main
from ganforge.testing import check_command, check_dataset, check_discriminator, check_generator, check_recipe

import ganforge_wavegan
from ganforge_wavegan import Notes, PhaseShuffle, WaveDiscriminator, WaveGenerator, Waves
from ganforge_wavegan.notes import FUNDAMENTALS
from ganforge_wavegan.waves import wav_bytes


def test_the_networks_pass_the_checks():
    data = DataSpec((2, 80))
    check_generator(WaveGenerator, data, width=2, z_dim=5)
    check_discriminator(WaveDiscriminator, data, width=2)


def test_a_second_of_audio_gets_the_channels_of_the_paper():
    with torch.device("meta"):
        generator, discriminator = (each(DataSpec((1, 16384))) for each in (WaveGenerator, WaveDiscriminator))
    assert [tuple(layer.weight.shape) for layer in discriminator.layers] == [
        (64, 1, 25), (128, 64, 25), (256, 128, 25), (512, 256, 25), (1024, 512, 25)
    ]  # fmt: skip
    assert generator.layers[0].weight.shape == (16 * 1024, 100)
    assert discriminator.judge.weight.shape == (1, 16 * 1024)


@pytest.mark.parametrize(("length", "near"), [(16000, 15872), (1000, 992), (40, 64), (16385, 16384)])
def test_the_nearest_length_is_told_and_is_valid(length, near):
    with pytest.raises(ValueError, match=f"use --set data.length={near}"):
        WaveGenerator(DataSpec((1, length)))
    assert WaveGenerator(DataSpec((1, near)), width=1)(torch.zeros(1, 100)).shape == (1, 1, near)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: WaveGenerator(DataSpec((1, 8, 8))), "needs signals"),
        (lambda: WaveGenerator(DataSpec((1, 64)), z_dim=0), "z_dim=0"),
        (lambda: WaveDiscriminator(DataSpec((1, 64)), width=0), "width=0"),
        (lambda: WaveDiscriminator(DataSpec((1, 64)), shuffle=16), "from 0 to 15"),
    ],
)
def test_what_does_not_fit_is_told(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_phase_shuffle_shifts_each_example_with_reflection_and_only_in_training():
    torch.manual_seed(0)
    maps = torch.arange(8.0).expand(200, 3, 8)
    shuffle = PhaseShuffle(2)
    moved = shuffle(maps)
    expected = {
        (2, 1, 0, 1, 2, 3, 4, 5), (1, 0, 1, 2, 3, 4, 5, 6), (0, 1, 2, 3, 4, 5, 6, 7),
        (1, 2, 3, 4, 5, 6, 7, 6), (2, 3, 4, 5, 6, 7, 6, 5),
    }  # fmt: skip
    assert {tuple(each) for each in moved[:, 0].int().tolist()} == expected
    assert torch.equal(moved, moved[:, :1].expand(-1, 3, -1))  # all channels alike
    assert torch.equal(shuffle.eval()(maps), maps)
    assert torch.equal(PhaseShuffle(0)(maps), maps)


def test_a_discriminator_shuffles_between_layers_and_not_its_input():
    torch.manual_seed(0)
    network = WaveDiscriminator(DataSpec((1, 64)), width=1)
    signals = torch.randn(1, 1, 64).expand(50, 1, 64)
    assert network(signals).std() < 1e-6  # one layer, so nothing is between
    deep = WaveDiscriminator(DataSpec((1, 256)), width=1)
    logits = deep(torch.randn(1, 1, 256).expand(50, 1, 256))
    assert (logits * 1e4).round().unique().numel() == 5


def test_notes_have_their_fundamentals():
    data = check_dataset(Notes, count=16)
    spectra = torch.fft.rfft(data.examples[:, 0] * torch.hann_window(2048)[1024:], 8192).abs()
    peaks = spectra.argmax(1) * 4000 / 8192
    assert (12 * (peaks / torch.tensor(FUNDAMENTALS * 2)).log2()).abs().max() < 0.25
    assert data.examples.abs().amax((1, 2)).min() > 0.3


def write(path, signal, rate=8000, width=2):
    """Write integers [T, C] as PCM."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(signal.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(signal.astype({1: "u1", 2: "<i2", 4: "<i4"}[width]).tobytes())


def test_files_become_pieces_and_pieces_become_files(tmp_path):
    draw = np.random.default_rng(0)
    long, short = (draw.integers(-32768, 32768, (length, 2)) for length in (150, 10))
    write(tmp_path / "a" / "long.wav", long)
    write(tmp_path / "short.WAV", short)
    data = check_dataset(Waves, path=str(tmp_path), length=64, rate=8000)
    assert data.examples.shape == (4, 2, 64)
    whole = data.examples[:3].permute(0, 2, 1).reshape(192, 2) * 32768
    assert torch.equal(whole[:150], torch.from_numpy(long).float())
    assert not whole[150:].any()
    assert not data.examples[3, :, 10:].any()
    source = Waves(path=str(tmp_path), length=64, rate=8000, first=True)
    assert [source.example_name(index) for index in range(len(source))] == [
        "a/long.wav from sample 0", "short.WAV from sample 0"
    ]  # fmt: skip
    (tmp_path / "again.wav").write_bytes(wav_bytes(source[1][:, :10], 8000))
    with wave.open(str(tmp_path / "again.wav")) as file:
        assert (file.getframerate(), file.getnchannels()) == (8000, 2)
        assert file.readframes(99) == short.astype("<i2").tobytes()
    before = source.cache_key()
    write(tmp_path / "short.WAV", np.zeros((11, 2)))
    assert Waves(path=str(tmp_path), length=64, rate=8000).cache_key() != before


def cut(path):
    write(path, np.zeros((99, 1)))
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: write(path, np.zeros((99, 1)), width=1), "8 bits, not 16 .*ffmpeg -i .*x.wav -c:a pcm_s16le"),
        (lambda path: write(path, np.zeros((99, 1)), width=4), "32 bits, not 16"),
        (lambda path: write(path, np.zeros((99, 1)), rate=44100), "44100 samples .*not 8000 .*data.rate=44100"),
        (lambda path: path.write_bytes(b"RIFF"), "cannot be read"),
        (lambda path: path.with_suffix(".mp3").write_bytes(b""), "only .wav files.*ffmpeg -i .*x.mp3 .*x.wav"),
        (lambda path: path.with_suffix(".txt").write_bytes(b""), "no .wav files"),
        (cut, "truncated"),
    ],
)
def test_files_that_cannot_be_used_are_told_with_what_to_do(tmp_path, make, told):
    make(tmp_path / "x.wav")
    with pytest.raises(DataError, match=told):
        Waves(path=str(tmp_path), length=128, rate=8000)[0]


def test_options_that_cannot_be_used_are_told(tmp_path):
    with pytest.raises(OptionError, match="no folder"):
        Waves()
    with pytest.raises(OptionError, match="length=0"):
        Waves(path=str(tmp_path), length=0)
    with pytest.raises(ValueError, match="count=0"):
        Notes(count=0)
    with pytest.raises(ValueError, match="at least 4000"):
        Notes(rate=2000)


def test_the_recipe_keeps_the_contract():
    check_recipe(ganforge_wavegan.ganforge_recipes()["wavegan"])
    check_command(ganforge_wavegan.ganforge_commands()["wavegan"])


def test_a_run_goes_on_to_the_same_bytes_is_exported_and_heard(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    time = np.arange(640)[:, None]
    for pitch in range(4):
        write(tmp_path / "tones" / f"{pitch}.wav", 20000 * np.sin(2 * math.pi * time * (pitch + 4) / 64))

    def run(*words, code=0):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([*map(str, words)])
        told = capsys.readouterr()
        assert (stop.value.code or 0) == code, told.err
        return told

    small = ["data.path=tones", "data.length=64", "data.rate=8000", "generator.width=4", "discriminator.width=4"]
    small += ["training.threads=1", "training.samples=4", "training.layout=contiguous", "training.precision=float32"]
    flags = [
        "--device",
        "cpu",
        "--engine",
        "eager",
        "--batch",
        8,
        *(word for each in small for word in ("--set", each)),
    ]
    for name, images in (("whole", 160), ("halves", 80)):
        run("train", "--arch", "wavegan", "--data", "waves", "--images", images, "--name", name, *flags)
    run("train", "--resume", "00001-halves", "--images", 160)
    whole, halves = (tmp_path / "runs" / name / "generator.safetensors" for name in ("00000-whole", "00001-halves"))
    assert whole.read_bytes() == halves.read_bytes()

    run("export", whole.parent, "--torchscript", "--to", "generator.pt")
    generator, z = ganforge.load(whole), torch.randn(3, 100)
    assert torch.allclose(torch.jit.load("generator.pt")(z), generator(z), atol=1e-5)

    assert run("wavegan", whole.parent, "--count", 2, "--seed", 7).out.strip() == "waves"
    files = sorted((tmp_path / "waves").iterdir())
    assert [file.name for file in files] == ["seed000007.wav", "seed000008.wav"]
    for file, signal in zip(files, ganforge.generate(generator, 2, seed=7), strict=True):
        with wave.open(str(file)) as sound:
            assert sound.getframerate() == 8000
            heard = np.frombuffer(sound.readframes(64), "<i2") / 32768
        assert np.abs(heard - signal[0].numpy()).max() <= 1 / 32768
