"""ganforge as a library: what the command line does, from Python and in notebooks."""

import base64
import inspect
import io
import re

import pytest
import torch
from PIL import Image

import ganforge
from ganforge import CheckpointError, DataError, Loss, OptionError
from ganforge.evaluation.subjects.runs import open_run as open_trained
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import load_generator
from ganforge.session.keywords import name_arguments

TINY = {
    "training.batch": 8, "training.samples": 4, "training.tick_images": 16, "training.engine": "eager",
    "training.precision": "float32", "training.layout": "contiguous", "training.threads": 1,
    "generator.hidden": 8, "discriminator.hidden": 8,
}  # fmt: skip


def train(data, **options):
    settings = TINY | options.pop("settings", {})
    return ganforge.train(arch="mlp", data=data, device="cpu", settings=settings, quiet=True, **options)


@pytest.fixture
def trained(here, image_folder):
    return train(image_folder, images=48)


def pictures(text):
    return [
        Image.open(io.BytesIO(base64.b64decode(each))) for each in re.findall(r"data:image/png;base64,([^\"]+)", text)
    ]


def test_a_run_from_python_is_the_run_of_the_command_line(trained, run, here, image_folder):
    flags = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]
    code, out, err = run(
        "train", "--arch", "mlp", "--data", str(image_folder), "--device", "cpu", "--images", "48", *flags
    )
    assert code == 0, err
    other = ganforge.open_run(out.strip())
    assert other.path != trained.path
    assert other.config == trained.config
    weights = [each.path / "generator.safetensors" for each in (trained, other)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_quiet_shows_nothing_and_otherwise_ticks_are_told(here, image_folder, capsys):
    train(image_folder, images=16)
    assert capsys.readouterr() == ("", "")
    ganforge.train(arch="mlp", data=image_folder, device="cpu", settings=TINY, images=16)
    out, err = capsys.readouterr()
    assert out == ""
    assert "16 images" in err


def test_a_run_tells_what_it_wrote(trained):
    assert [row["images"] for row in trained.rows] == [16, 32, 48]
    assert trained.config["generator"]["hidden"] == [8]
    assert trained.show() == trained.show(48)
    first = trained.show(images=20)
    assert first.tobytes() == Image.open(trained.path / "samples" / "000000016.png").tobytes()
    assert repr(trained) == f"Run({str(trained.path)!r})"
    assert trained.sample(4, seed=3).size == (34, 34)
    assert ganforge.open_run().path.resolve() == trained.path.resolve()
    with pytest.raises(CheckpointError, match="no best generator"):
        trained.load(best=True)


def test_a_generator_is_loaded_from_whatever_names_its_run(trained):
    z = torch.randn(2, trained.load().z_dim)
    expected = trained.load()(z)
    for named in (trained, trained.path, str(trained.path), trained.path.name, 0, "0"):
        assert torch.equal(ganforge.load(named)(z), expected)
    with pytest.raises(OptionError, match="run not found"):
        ganforge.load(7)
    with pytest.raises(OptionError, match="a Run is no generator"):
        ganforge.generate(trained, 4)


def test_a_class_of_ones_own_as_a_penalty_is_refused_in_words(here, image_folder):
    with pytest.raises(OptionError, match="reg: .*is not text"):
        train(image_folder, reg=[LeastSquares])
    with pytest.raises(OptionError, match=r"reg: 'r1' is one text, not a list .*reg=\['r1'\]"):
        train(image_folder, reg="r1")


def test_a_run_goes_on_as_far_as_it_is_told(trained, here, image_folder):
    same = trained.resume(images=80, quiet=True)
    assert same.path == trained.path
    assert [row["images"] for row in same.rows] == [16, 32, 48, 64, 80]
    whole = train(image_folder, images=80, name="whole")
    weights = [each.path / "generator.safetensors" for each in (same, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    with pytest.raises(OptionError, match="has spent its budget"):
        same.resume(quiet=True)


class LeastSquares(Loss):
    """Least squares (Mao 2017)."""

    def __init__(self, *, target: float = 1.0) -> None:
        super().__init__()
        self.target = target

    def discriminator(self, logits):
        return (logits.real - self.target).square().mean() + logits.fake.square().mean()

    def generator(self, logits):
        return (logits.fake - self.target).square().mean()


class Squares:
    """Gray squares, each with its label."""

    class_names = ("dark", "light")

    def __len__(self):
        return 40

    def __getitem__(self, index):
        return torch.full((12, 12), 200 * (index % 2), dtype=torch.uint8), index % 2


def test_parts_and_data_of_ones_own_need_no_package(here):
    found = train(Squares(), loss=LeastSquares, images=16, settings={"loss.target": 0.5})
    assert found.config["loss"] == {"name": "least-squares", "target": 0.5}
    assert found.load()(torch.zeros(2, found.load().z_dim)).shape == (2, 1, 12, 12)
    assert "discriminator/loss" in found.rows[-1]
    again = found.resume(images=32, quiet=True)
    assert again.rows[-1]["images"] == 32


def test_runs_and_generators_show_themselves_in_notebooks(trained):
    text = trained._repr_html_()
    (grid,) = pictures(text)
    assert grid.tobytes() == trained.show().tobytes()
    assert "generator/loss" in text
    generator = trained.load()
    (samples,) = pictures(generator._repr_html_())
    assert samples.size == (8 * 18 - 2, 2 * 18 - 2)
    row = samples.crop((0, 0, 4 * 18 - 2, 16))
    assert row.tobytes() == trained.sample(16).crop((0, 0, 4 * 18 - 2, 16)).tobytes()  # of the same seeds


def test_what_a_run_holds_is_escaped(trained):
    odd = trained.path.rename(trained.path.with_name("00009-<script>alert(1)<"))
    assert "<script>" not in ganforge.open_run(odd)._repr_html_()


def test_mistakes_are_errors_that_say_what_to_do(here, image_folder):
    with pytest.raises(OptionError, match="unknown loss 'nonsta'.*did you mean 'nonsat'"):
        train(image_folder, loss="nonsta", images=16)
    with pytest.raises(OptionError, match=r"no run found"):
        ganforge.open_run(out="nowhere")
    assert not (here / "runs").exists()
    (image_folder / "broken.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"skip them with settings=\{'data\.skip_bad': True\}"):
        train(image_folder, images=16)


def test_messages_name_arguments_instead_of_flags(trained, capsys):
    with pytest.raises(OptionError, match=r"images is the total, resumes included: use images="):
        trained.resume(images=48)
    trained.resume(images=64)
    err = capsys.readouterr().err
    assert "minutes or images sets another length" in err
    assert "run.resume(images=" in err
    assert "--" not in err


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("train again: --resume --minutes 15", "train again: run.resume(minutes=15)"),
        ("add --arch cgan, or --init-from a run", "add arch cgan, or init_from a run"),
        ("--batch 3: use --batch 4", "batch=3: use batch=4"),
        (
            "--augment ada --callback early-stop:patience=9,x=2",
            "augment=['ada'] callback=['early-stop:patience=9,x=2']",
        ),
        ("use --precision float32", "use settings={'training.precision': 'float32'}"),
        ("such as --set generator.width=96", "such as settings={'generator.width': 96}"),
        ("--skip-bad would skip two", "settings={'data.skip_bad': True} would skip two"),
        ("`ganforge data check --json` lists them", "`ganforge data check --json` lists them"),
        ("--unknown 3", "--unknown 3"),
    ],
)
def test_each_kind_of_flag_has_its_form_in_python(text, wanted):
    assert name_arguments(text, inspect.signature(ganforge.train).parameters) == wanted


def test_a_card_without_the_fingerprint_of_its_data_is_refused_in_one_line(trained):
    registry = Registry.installed()
    weights = trained.path / "generator.safetensors"
    generator, card = load_generator(weights, registry)
    assert open_trained(weights, generator, card, registry).data.fingerprint
    del card["data"]["fingerprint"]
    with pytest.raises(CheckpointError, match="changed since the run was trained"):
        open_trained(weights, generator, card, registry)
