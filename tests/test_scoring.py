import hashlib
import json
import re
import shutil
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from test_training import CPU, SMALL, Silent, packed, rows_without_times

from ganforge import GanforgeError, OptionError
from ganforge.builtin.metrics import METRICS
from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.contract.networks import Generator
from ganforge.core.cache import cache_folder
from ganforge.core.distributed import Workers
from ganforge.core.images import to_float, to_uint8
from ganforge.evaluation import scoring
from ganforge.evaluation.classifier import train_classifier
from ganforge.evaluation.extractors.classifier import ClassifierExtractor
from ganforge.evaluation.extractors.inception import InceptionExtractor
from ganforge.evaluation.extractors.random import RandomExtractor
from ganforge.evaluation.metrics.comparison import Comparison, Protocol, Reference
from ganforge.evaluation.reporter import Reporter
from ganforge.evaluation.scoring import FeatureScore, FeatureScorer, check_scoring
from ganforge.evaluation.statistics import Moments, frechet_distance, kernel_distance
from ganforge.evaluation.subjects.subject import GeneratorSubject
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import load_generator, read_card, read_tensors, save_tensors
from ganforge.runs.folder import RunFolder
from ganforge.sampling import generate
from ganforge.session.terminal import Display, describe_scores
from ganforge.training import loop
from ganforge.training.execution.engine import EAGER
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording import recovery
from ganforge.training.recording.recorder import Score
from ganforge.training.start import open_recorder
from ganforge.training.state import build_state


@pytest.fixture(scope="module")
def registry():
    return Registry.installed()


@pytest.fixture
def images():
    torch.manual_seed(7)
    return packed(torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8))


@pytest.fixture
def labelled():
    """Dark and bright images."""
    torch.manual_seed(8)
    labels = torch.arange(60) % 2
    examples = (torch.randint(0, 100, (60, 1, 8, 8)) + 150 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    return packed(examples, labels, ("dark", "bright"), "two shades")


class Watcher(Silent):
    """Keeps scores too."""

    def __init__(self, stop_after=None):
        super().__init__(stop_after)
        self.scores, self.bests = [], []

    def score(self, row, best):
        self.scores.append(row)
        self.bests.append(best)


class Mean:
    """A scorer that depends on the generator alone, and uses up random numbers."""

    def __init__(self):
        self.calls = 0

    def __call__(self, generator):
        self.calls += 1
        torch.manual_seed(torch.randint(0, 1000, ()).item())
        pictures = generate(generator, 4, seed=5)
        return {"mean": pictures.mean().abs().item(), "spread": pictures.std().item()}


class Scripted:
    """A scorer that returns given scores."""

    def __init__(self, *values):
        self.values = list(values)

    def __call__(self, generator):
        return {"first": self.values.pop(0), "second": 1.0}


def train(registry, data, folder, settings, scorer=None, resume=False, stop_after=None):
    config = resolve(registry, *load_layers(None, None, [], [*SMALL, "training.samples=4", *settings]))
    state = build_state(config, registry, data.spec, CPU)
    record = open_recorder(config, registry, data, folder, state)
    words = recovery.resume(record, CPU) if resume else ""
    watcher = Watcher(stop_after)
    loop.train(state, Batches(data, config.training.seed, CPU), record, config, watcher, EAGER, scorer)
    return record, watcher, words


def build_scorer(*arguments, **options):
    return scoring.build_scorer(*arguments, cache=cache_folder(), **options)


def score_rows(folder):
    return [row for row in rows_without_times(folder) if "D(x)" not in row]


EVERY_30 = ["training.keep_checkpoints=9", "training.images=100", "training.eval_every=30"]


def test_a_score_comes_when_a_multiple_is_reached_and_at_the_end_and_never_twice(registry, images, tmp_path):
    cases = {20: [20, 40, 50], 25: [25, 50], 23: [25, 50], 3: list(range(5, 51, 5)), 500: [50]}
    for every, counts in cases.items():
        folder = RunFolder.create(tmp_path, f"every-{every}")
        scorer = Mean()
        _, watcher, _ = train(registry, images, folder, [f"training.eval_every={every}", "training.images=50"], scorer)
        assert [row["images"] for row in score_rows(folder)] == counts
        assert [row["images"] for row in watcher.scores] == counts
        assert scorer.calls == len(counts)
        assert [row["images"] for row in watcher.rows] == [20, 40, 50]


def test_a_stopped_run_is_not_scored_on_the_way_out(registry, images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    train(registry, images, folder, EVERY_30, Mean(), stop_after=8)
    assert [row["images"] for row in score_rows(folder)] == [30]


def test_scores_do_not_disturb_a_run(registry, images, labelled, tmp_path):
    for name, data in (("without-classes", images), ("with-classes", labelled)):
        plain, scored = (RunFolder.create(tmp_path, f"{name}-{each}") for each in ("plain", "scored"))
        settings = [*EVERY_30, "training.eval_samples=8", "training.metrics=fd"]
        config = resolve(registry, *load_layers(None, None, [], [*SMALL, *settings]))
        scorer = Mean() if data is images else build_scorer(config.training, data, CPU, registry)
        train(registry, data, plain, settings)
        train(registry, data, scored, settings, scorer)
        assert scored.generator.read_bytes() == plain.generator.read_bytes()
        ours, theirs = (read_tensors(folder.checkpoint_path(100))[0] for folder in (plain, scored))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        ticks = [row for row in rows_without_times(scored) if "D(x)" in row]
        assert ticks == rows_without_times(plain)


def test_time_spent_on_scores_is_not_training_time(registry, images, tmp_path, monkeypatch):
    clock = [0.0]

    class Clock:
        @staticmethod
        def perf_counter():
            clock[0] += 1.0  # every glance takes a second
            return clock[0]

    class Slow(Mean):
        def __call__(self, generator):
            clock[0] += 1000.0
            return super().__call__(generator)

    monkeypatch.setattr(loop, "time", Clock)
    folder = RunFolder.create(tmp_path, "x")
    record, watcher, _ = train(registry, images, folder, EVERY_30, Slow())
    assert record.last.images == 100
    assert clock[0] > 4000
    seconds = [row["seconds"] for row in watcher.rows + watcher.scores]
    assert max(seconds) < 20 + 2 * 3  # a glance a step, and at most two a score
    assert all(row["images_per_second"] > 1 for row in watcher.rows)


@pytest.mark.parametrize("stop_after", [1, 6, 13])
def test_a_run_resumed_ends_with_the_rows_and_the_best_of_an_unbroken_one(registry, images, tmp_path, stop_after):
    whole, broken = (RunFolder.create(tmp_path, name) for name in ("whole", "broken"))
    ours, *_ = train(registry, images, whole, EVERY_30, Mean())
    train(registry, images, broken, EVERY_30, Mean(), stop_after=stop_after)
    theirs, *_ = train(registry, images, broken, EVERY_30, Mean(), resume=True)
    assert rows_without_times(broken) == rows_without_times(whole)
    assert (theirs.best, theirs.last) == (ours.best, ours.last)
    assert broken.best_generator.read_bytes() == whole.best_generator.read_bytes()
    assert broken.generator.read_bytes() == whole.generator.read_bytes()


def test_a_run_goes_on_from_the_checkpoint_of_its_best_score_as_if_it_was_never_away(registry, images, tmp_path):
    """That checkpoint comes at a moment of its own, here together with a tick, which must not come twice or later."""
    whole, broken = RunFolder.create(tmp_path, "whole"), RunFolder(tmp_path / "broken")
    train(registry, images, whole, EVERY_30, Scripted(4.0, 3.0, 2.0, 5.0))
    assert [row["images"] for row in rows_without_times(whole)].count(60) == 2
    shutil.copytree(whole.path, broken.path)
    for later in (90, 100):
        broken.checkpoint_path(later).unlink()
    _, _, words = train(registry, images, broken, EVERY_30, Scripted(2.0, 5.0), resume=True)
    assert "at 60 images" in words
    assert rows_without_times(broken) == rows_without_times(whole)
    assert broken.generator.read_bytes() == whole.generator.read_bytes()


def test_a_best_generator_from_beyond_the_checkpoint_is_forgotten_and_found_again(registry, images, tmp_path):
    """The newest checkpoint is damaged, so the run resumes from one before its best."""
    folder = RunFolder.create(tmp_path, "x")
    values = [3.0, 2.0, 1.0, 4.0]
    train(registry, images, folder, EVERY_30, Scripted(*values[:1]), stop_after=10)
    whole, *_ = train(registry, images, folder, EVERY_30, Scripted(*values[1:]), resume=True)
    rows, best = rows_without_times(folder), folder.best_generator.read_bytes()
    assert whole.best == Score("first", 1.0, 90)
    for images_seen in (100, 90, 60):  # the newest, and those of the best ones
        folder.checkpoint_path(images_seen).write_bytes(b"damaged")

    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(folder.path, copy.path)
    record, *_ = train(registry, images, copy, EVERY_30, Scripted(), resume=True, stop_after=1)
    assert record.best is None
    assert not copy.best_generator.exists()

    shutil.rmtree(copy.path)
    shutil.copytree(folder.path, copy.path)
    record, _, words = train(registry, images, copy, EVERY_30, Scripted(7.0), resume=True, stop_after=3)
    assert "at 50 images" in words
    assert record.best == Score("first", 7.0, 60)  # worse than the forgotten one, but the best of this time
    assert read_card(copy.best_generator)["images"] == 60

    train(registry, images, folder, EVERY_30, Scripted(*values[1:]), resume=True)
    assert rows_without_times(folder) == rows
    assert folder.best_generator.read_bytes() == best


def test_resuming_takes_up_the_best_so_far(registry, images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    train(registry, images, folder, EVERY_30, Scripted(2.0), stop_after=8)
    before = folder.best_generator.read_bytes()
    record, watcher, _ = train(registry, images, folder, EVERY_30, Scripted(2.5, 2.0, 9.0), resume=True)
    assert watcher.bests == [Score("first", 2.0, 30)] * 3
    assert (record.best.images, record.last) == (30, Score("first", 9.0, 100))
    assert folder.best_generator.read_bytes() == before


@pytest.mark.parametrize(
    "wrong",
    [{"images": None}, {"images": "many"}, {"score": None}, {"score": {"metric": "first"}}, {"score": {"value": 2.0}}],
    ids=str,
)
def test_a_wrong_card_of_the_best_generator_is_named_and_passed_over(registry, images, tmp_path, wrong):
    folder = RunFolder.create(tmp_path, "x")
    train(registry, images, folder, EVERY_30, Scripted(2.0), stop_after=8)
    tensors, card = read_tensors(folder.best_generator)
    save_tensors(folder.best_generator, tensors, {**card, **wrong})
    _, _, words = train(registry, images, folder, EVERY_30, Scripted(5.0, 6.0, 7.0), resume=True)
    assert "generator-best.safetensors: invalid card" in words


def test_further_fields_of_a_score_are_ignored(registry, images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    train(registry, images, folder, EVERY_30, Scripted(2.0), stop_after=8)
    for path in (folder.best_generator, folder.checkpoint_paths()[-1]):
        tensors, card = read_tensors(path)
        save_tensors(path, tensors, {**card, "score": {**card["score"], "later": 1}})
    record, _, _ = train(registry, images, folder, EVERY_30, Scripted(2.5, 3.0, 9.0), resume=True)
    assert (record.best.value, record.best.images) == (2.0, 30)


def test_a_damaged_best_generator_is_named_and_passed_over(registry, images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    train(registry, images, folder, EVERY_30, Scripted(2.0), stop_after=8)
    folder.best_generator.write_bytes(b"damaged")
    record, _, words = train(registry, images, folder, EVERY_30, Scripted(5.0, 6.0, 7.0), resume=True)
    assert "generator-best.safetensors" in words
    assert record.best == Score("first", 5.0, 60)


def test_the_best_is_kept_when_scores_get_worse_and_the_last_stays_the_last(registry, images, tmp_path):
    folder, short = (RunFolder.create(tmp_path, name) for name in ("x", "short"))
    train(registry, images, folder, EVERY_30, Scripted(5.0, 3.0, 4.0, 3.0))
    train(registry, images, short, ["training.images=60", "training.eval_every=30"], Scripted(9.0, 8.0))
    best, card = load_generator(folder.best_generator)
    assert (card["images"], card["score"]) == (60, {"metric": "first", "value": 3.0})
    then, _ = load_generator(short.generator)
    last, _ = load_generator(folder.generator)
    assert torch.equal(generate(best, 3), generate(then, 3))
    assert not torch.equal(generate(best, 3), generate(last, 3))


def test_a_score_that_is_not_finite_stops_the_run_in_words(registry, images, tmp_path):
    with pytest.raises(GanforgeError, match="training diverged: first is nan after 30 images"):
        train(registry, images, RunFolder.create(tmp_path, "x"), EVERY_30, Scripted(float("nan")))


class Noise(Generator):
    """Makes its latents bright: pixels are normally distributed."""

    z_dim = 4

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.2))

    def forward(self, z, labels=None):
        offset = 0.0 if labels is None else labels.view(-1, 1) * 0.5
        return (z * self.scale + offset).view(-1, 1, 2, 2)


def test_the_distance_is_that_of_the_closed_form_between_normal_distributions():
    """Features that commute: the real ones are the generated ones, stretched by c and moved by m."""
    generator, stretch, shift = Noise(), 1.75, torch.tensor([3.0, -1.0, 0.5])
    mix = torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, -1.0], [0.3, 0.0, 1.0], [1.0, 1.0, 1.0]])

    def extract(images):
        return images.flatten(1).float() @ mix / 40

    def score(reals):
        return FeatureScore(
            name="d", metric=METRICS["fid"](), extract=lambda images: (extract(images), None), reals=reals
        )

    features = extract(to_uint8(generate(generator, 300, seed=11))).double()
    reals = stretch * features + shift
    centred = features - features.mean(0)
    trace = centred.square().sum() / (len(features) - 1)
    expected = ((stretch - 1) * features.mean(0) + shift).square().sum() + (stretch - 1) ** 2 * trace
    scorer = FeatureScorer([score(reals)], samples=300, seed=11, labels=None)
    found = scorer(generator)
    assert found == {"d": pytest.approx(expected.item(), rel=1e-6)}
    assert scorer(generator) == found
    same = FeatureScorer([score(features)], samples=300, seed=11, labels=None)
    assert same(generator)["d"] == pytest.approx(0.0, abs=1e-6)


def test_classes_are_drawn_in_the_proportions_of_the_data():
    shown = []

    def extract(images):
        shown.append(images.flatten(1).float().mean(1))
        return images.flatten(1).float(), None

    labels = (torch.arange(1000) % 10 == 0).long()
    score = FeatureScore(name="d", metric=METRICS["fid"](), extract=extract, reals=torch.randn(50, 4))
    scorer = FeatureScorer([score], samples=2000, seed=3, labels=labels)
    generator = Noise()
    generator.scale.data.fill_(0.01)
    scorer(generator)
    bright = (torch.cat(shown) > 150).double().mean().item()
    assert bright == pytest.approx(0.1, abs=0.025)


def test_distances_of_the_same_features_ask_the_network_once():
    shown, generator = [], Noise()

    def extract(images):
        shown.append(len(images))
        return images.flatten(1).float() / 255, None

    reals = torch.rand(80, 4)
    scores = [FeatureScore(name=each, metric=METRICS[each](), extract=extract, reals=reals) for each in ("fid", "kid")]
    found = FeatureScorer(scores, samples=100, seed=2, labels=None)(generator)
    assert (sum(shown), list(found)) == (100, ["fid", "kid"])
    fakes = to_uint8(generate(generator, 100, seed=2)).flatten(1).float() / 255
    assert found["kid"] == pytest.approx(kernel_distance(reals, fakes, subset_size=80).mean, rel=1e-12)
    assert found["fid"] != found["kid"]


def test_features_are_the_means_of_the_last_maps(labelled, tmp_path):
    classifier = train_classifier(labelled, epochs=1)
    classifier.save(tmp_path / "classifier.safetensors")
    extractor = ClassifierExtractor(labelled.spec, weights=str(tmp_path / "classifier.safetensors")).eval()
    images = labelled.examples[:5]
    with torch.no_grad():
        found, logits = extractor(images)
        (third, _), expected = extractor(images[2:3]), classifier.network(to_float(images))
    assert found.shape == (5, 128)
    assert torch.allclose(logits, expected, atol=1e-6)
    assert (found >= 0).all()
    maps = images.float() / 127.5 - 1
    with torch.no_grad():
        for layer in classifier.network[:12]:
            maps = layer(maps)
    assert torch.allclose(found, maps.sum((2, 3)) / (maps.shape[2] * maps.shape[3]), atol=1e-6)
    assert torch.allclose(third, found[2:3], atol=1e-6)


def test_fd_without_classes_compares_features_of_a_random_network(registry, images):
    settings = ["training.metrics=fd", "training.eval_every=5", "training.eval_samples=40", "training.seed=3"]
    config = resolve(registry, *load_layers(None, None, [], [*SMALL, *settings]))
    generator = build_state(config, registry, images.spec, CPU).ema
    extractor = RandomExtractor(images.spec)
    fakes = extractor(to_uint8(generate(generator, 40, seed=3)))[0]
    expected = frechet_distance(Moments.of(extractor(images.examples)[0]), Moments.of(fakes))
    found = build_scorer(config.training, images, CPU, registry)(generator)
    assert found == {"fd_random": pytest.approx(expected, rel=1e-4)}


def test_fd_bears_the_name_of_its_extractor_and_compares_with_what_is_shown_in_training(registry, labelled):
    settings = ["training.metrics=fd", "training.eval_every=5", "training.eval_samples=40", "training.holdout=0.3"]
    settings += ["generator.conditioning=input"]
    config = resolve(registry, *load_layers(None, None, [], [*SMALL, *settings]))
    state = build_state(config, registry, labelled.spec, CPU)
    said = []
    ours = build_scorer(config.training, labelled, CPU, registry, reporter=Reporter(log=said.append))(state.ema)
    assert list(ours) == ["fd_test-classifier"]
    assert "held-out images" in said[0]
    again = build_scorer(config.training, labelled, CPU, registry, reporter=Reporter(log=said.append))
    assert again(state.ema) == ours
    assert ["was trained" in each for each in said] == [True, False]
    hidden = ~torch.isin(torch.arange(60), Batches(labelled, 0, CPU, holdout=0.3).indices(0, 60))
    assert hidden.any()
    spoilt = labelled.examples.clone()
    spoilt[hidden] = 255
    labels = labelled.labels.where(~hidden, 1 - labelled.labels)
    other = packed(spoilt, labels, labelled.class_names, labelled.fingerprint)
    shutil.rmtree(cache_folder() / "features")  # else those of the same fingerprint would be found again
    assert build_scorer(config.training, other, CPU, registry)(state.ema) == ours


class Pooled(torch.nn.Module):
    """Takes the place of Inception."""

    def forward(self, images):
        return images.float().mean(1).flatten(1)[:, ::7], images.float().flatten(1)[:, :3] / 255


@pytest.fixture
def inception(tmp_path, monkeypatch):
    """A file of weights for a stand-in."""
    (tmp_path / "weights.safetensors").write_bytes(safetensors.torch.save({"x": torch.zeros(2)}))
    monkeypatch.setenv("GANFORGE_INCEPTION_WEIGHTS", str(tmp_path / "weights.safetensors"))
    monkeypatch.setattr("ganforge.evaluation.extractors.inception.Inception", lambda state, clean: Pooled())
    monkeypatch.setattr("ganforge.evaluation.extractors.inception.quicken", lambda network: True)
    return hashlib.sha256((tmp_path / "weights.safetensors").read_bytes()).hexdigest()


def test_scores_are_those_of_the_evaluation_and_say_if_the_weights_are_others(registry, labelled, inception, tmp_path):
    settings = ["training.metrics=fid,kid,fd", "training.eval_every=5", "training.eval_samples=70", "training.seed=4"]
    config = resolve(registry, *load_layers(None, None, [], [*SMALL, *settings]))
    state, said = build_state(config, registry, labelled.spec, CPU), []
    values = build_scorer(config.training, labelled, CPU, registry, reporter=Reporter(log=said.append))(state.ema)
    label = f"inception-{inception[:8]}"
    assert list(values) == [f"fd_{label}", f"kd_{label}", "fd_test-classifier"]  # the first decides
    assert "not the published" in said[0]
    assert not any("note:" in each for each in said[1:])
    spec = labelled.spec
    card = {"digest": "g", "generator": {}, "data": {"shape": list(spec.shape), "class_names": list(spec.class_names)}}
    comparison = Comparison(
        GeneratorSubject(state.ema, card, tmp_path, name="x"), Reference.choose(labelled),
        InceptionExtractor(spec), Protocol(samples=70, seed=4), device=CPU, cache=tmp_path / "features",
    )  # fmt: skip
    for metric in ("fid", "kid"):
        (row,) = comparison.measure(metric, METRICS[metric]())
        assert values[row.metric] == pytest.approx(row.value, rel=1e-6)


def test_scores_by_published_weights_are_fid_and_kid(registry, labelled, inception, monkeypatch):
    monkeypatch.setattr("ganforge.evaluation.extractors.inception.SHA256", inception)
    settings = ["training.metrics=kid,fid", "training.eval_every=5", "training.eval_samples=20"]
    config = resolve(registry, *load_layers(None, None, [], [*SMALL, *settings]))
    state, said = build_state(config, registry, labelled.spec, CPU), []
    assert list(
        build_scorer(config.training, labelled, CPU, registry, reporter=Reporter(log=said.append))(state.ema)
    ) == [
        "kid",
        "fid",
    ]
    assert said == []


def test_scores_of_fewer_digits_bear_another_name_and_are_about_the_same(registry, labelled):
    found = {}
    for dtype in ("float32", "bfloat16"):
        settings = ["training.metrics=fd,kd", "training.eval_every=5", "training.eval_samples=40"]
        settings.append(f"training.eval_dtype={dtype}")
        config = resolve(registry, *load_layers(None, None, [], [*SMALL, *settings]))
        state = build_state(config, registry, labelled.spec, CPU)
        found[dtype] = build_scorer(config.training, labelled, CPU, registry)(state.ema)
    full, reduced = found["float32"], found["bfloat16"]
    assert list(full) == ["fd_test-classifier", "kd_test-classifier"]
    assert list(reduced) == ["fd_test-classifier_bfloat16", "kd_test-classifier_bfloat16"]
    for name, value in full.items():
        assert reduced[f"{name}_bfloat16"] == pytest.approx(value, rel=0.05, abs=0.01)
        assert reduced[f"{name}_bfloat16"] != value


def test_scores_that_cannot_be_had_are_refused(registry, images, labelled):
    vectors = packed(torch.randn(50, 2))
    clear = packed(torch.zeros(50, 4, 8, 8, dtype=torch.uint8))
    cases = [
        (labelled, ["eval_every=5"], "--eval-every 5: no metric is given .*--metrics fd"),
        (labelled, ["metrics=fd,fid"], "--metrics fd,fid: no interval is given .*--eval-every"),
        (vectors, ["eval_every=5", "metrics=fd"], "test holds no images"),
        (clear, ["eval_every=5", "metrics=fid"], "have 4 channels"),
    ]
    for data, settings, message in cases:
        config = resolve(registry, *load_layers(None, None, [], [f"training.{each}" for each in settings]))
        with pytest.raises(OptionError, match=message) as error:
            check_scoring(config.training, data)
        assert "\n" not in str(error.value)


def test_the_best_and_the_last_are_told_in_one_line():
    best, last = Score("fd_x", 12.31, 200_000), Score("fd_x", 12.9009, 250_000)
    assert describe_scores(best, last, "best.file") == (
        "fd_x: best 12.31 after 200,000 images (best.file), last 12.9 after 250,000, 4.8% above the best"
    )
    assert describe_scores(best, best, "f") == "fd_x: best 12.31 after 200,000 images (f), the last"
    assert "%" not in describe_scores(Score("d", -1e-9, 10), last, "f")


def test_the_display_logs_scores_with_the_best(tmp_path):
    with Display(tmp_path / "log.txt", 100, None) as display:
        display.score({"images": 50, "seconds": 1.0, "fd_x": 2.5, "fid": 30.0}, Score("fd_x", 1.5, 20))
    assert (tmp_path / "log.txt").read_text() == "50 images fd_x 2.5 fid 30 (best 1.5 after 20 images)\n"


# How steps are computed is said, so that no measurement of this machine decides about the last digits.
ARGUMENTS = [
    "--set", "generator.width=4", "--set", "discriminator.width=4", "--batch", "8", "--device", "cpu",
    "--engine", "eager", "--precision", "float32", "--set", "training.layout=contiguous", "--set", "training.threads=1",
    "--eval-every", "20", "--set", "training.eval_samples=16",
]  # fmt: skip


def test_the_command_scores_tells_the_best_and_goes_on(run, here, image_folder):
    code, out, err = run("train", "--data", image_folder, "--images", "48", "--metrics", "fd", *ARGUMENTS)
    assert code == 0, err
    assert re.search(r"^fd_photos-classifier: best [\d.]+ after \d\d images \(generator-best.safetensors\)", err, re.M)
    folder = RunFolder(here / out.strip())
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert [row["images"] for row in rows if "fd_photos-classifier" in row] == [24, 40, 48]
    assert folder.read_config()["training"]["metrics"] == ["fd"]
    code, _, err = run("train", "--resume", "--images", "64")
    assert code == 0, err
    assert score_rows(folder)[-1]["images"] == 64
    code, out, _ = run("sample", folder.best_generator, "--count", "1", "--to", "best.png")
    assert (code, out.strip()) == (0, "best.png")
    code, out, err = run("train", "--config", folder.config, "--images", "48")
    assert code == 0, err
    assert score_rows(RunFolder(here / out.strip())) == score_rows(folder)[:3]


def test_where_no_cache_can_be_written_a_run_is_scored_as_well(run, here, image_folder, monkeypatch):
    arguments = ["train", "--data", image_folder, "--images", "24", "--metrics", "fd", *ARGUMENTS]
    rows = []
    for cache in (here / "cache", here / "file" / "cache"):
        (here / "file").touch()
        monkeypatch.setenv("GANFORGE_CACHE", str(cache))
        code, out, err = run(*arguments)
        assert code == 0, err
        rows.append(score_rows(RunFolder(here / out.strip())))
    assert "so nothing is cached" in " ".join(err.split())
    assert rows[0] == rows[1] != []


def test_a_mistake_about_scores_is_one_line_and_leaves_nothing(run, here, image_folder, monkeypatch):
    monkeypatch.setenv("GANFORGE_INCEPTION_WEIGHTS", str(here / "absent.pth"))
    flat = (image_folder / "cat").rename(here / "flat")
    cases = [
        (["--data", "ring-8", "--metrics", "fd"], "holds no images"),
        (["--data", flat, "--metrics", "fid"], "--metrics fid: .*file .*absent.pth not found"),
        (["--data", flat, "--metrics", "fdi"], "training.metrics: 'fdi' is invalid"),
        (["--data", flat], "no metric is given"),
    ]
    for arguments, message in cases:
        code, _, err = run("train", "--images", "16", *ARGUMENTS, *arguments)
        assert code == 2
        assert len(err.strip().splitlines()) == 1
        assert re.search(message, err)
        assert not (here / "runs").exists()


class Listening(Workers):
    """Records what it gathers."""

    def broadcast_bytes(self, content):
        return b"[5]"  # the widths

    def on_main(self, function):
        return b"{}"

    def gather(self, tensor):
        self.told = tensor.clone()
        return torch.cat([tensor] * self.size)


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("samples", [64, 300])
def test_processes_share_out_the_samples_of_a_score(registry, labelled, samples, size):
    torch.manual_seed(0)
    spec = labelled.spec
    generator = registry.build("generator", "dcgan", {"width": 4, "conditioning": "input"}, spec)

    def flat(images):
        return images.float().flatten(1)[:, :5], None

    score = FeatureScore(name="flat", metric=METRICS["fid"](), extract=flat, reals=torch.randn(50, 5))
    teams = [Listening(rank, size) for rank in range(size)]
    for workers in teams:
        FeatureScorer([score], samples=samples, seed=4, labels=labelled.labels, workers=workers)(generator)
    whole = []
    alone = replace(score, extract=lambda images: whole.append(flat(images)[0]) or flat(images))
    FeatureScorer([alone], samples=samples, seed=4, labels=labelled.labels)(generator)
    assert torch.equal(torch.cat([workers.told for workers in teams])[:samples], torch.cat(whole))
