"""Changes of the data since a run began are described, as far as the run recorded them."""

from dataclasses import replace

import numpy as np
import pytest

from ganforge.data import open_data
from ganforge.data.difference import describe_difference


def opened(tmp_path, name, examples):
    np.save(tmp_path / f"{name}.npy", examples)
    return open_data(str(tmp_path / f"{name}.npy"))


def recorded(data, **changes):
    return {
        "name": data.name,
        "shape": list(data.spec.shape),
        "class_names": list(data.class_names),
        "fingerprint": data.fingerprint,
        "num_examples": len(data),
    } | changes


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)


@pytest.fixture
def data(tmp_path, pixels):
    return opened(tmp_path, "now", pixels)


def with_classes(data, *names):
    return replace(data, class_names=names, fingerprint=f"{' '.join(names)} {data.fingerprint}")


def test_the_same_data_do_not_differ(data):
    assert describe_difference(recorded(data), data) == ""


def test_the_number_of_examples_is_told(tmp_path, data, pixels):
    told = describe_difference(recorded(opened(tmp_path, "then", pixels[:4])), data)
    assert told.startswith("6 examples instead of 4; fingerprint ")
    assert "examples [" not in told


def test_their_shape_is_told(tmp_path, data, pixels):
    told = describe_difference(recorded(opened(tmp_path, "then", pixels[:, :4, :4])), data)
    assert told.startswith("examples [3, 8, 8] instead of [3, 4, 4]; fingerprint ")


def test_fingerprints_end_every_difference(tmp_path, data, pixels):
    then = opened(tmp_path, "then", pixels[::-1])
    told = describe_difference(recorded(then), data)
    assert told.startswith("as many examples of the same shape and classes, but different or in another order; ")
    assert told.endswith(f"fingerprint {data.fingerprint[:12]} instead of {then.fingerprint[:12]}")


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ((), ("cat", "dog"), "2 classes instead of none"),
        (("cat", "dog"), (), "no classes instead of 2"),
        (("cat", "dog"), ("cat", "wolf"), "removed classes: 'dog', new classes: 'wolf'"),
        (("cat",), ("cat", "dog"), "new classes: 'dog'"),
        (("cat", "dog"), ("dog", "cat"), "the same classes in another order"),
        (tuple("abcdef"), ("a",), "removed classes: 'b', 'c', 'd' and 2 more"),
    ],
)
def test_classes_are_told_by_name(data, then, now, told):
    found = describe_difference(recorded(with_classes(data, *then)), with_classes(data, *now))
    assert found.split("; ")[0] == told


def test_what_was_left_out_explains_a_number(data):
    fewer = replace(data, origin={"left_out": {"a.png": "the file is empty"}}, fingerprint="other")
    told = describe_difference(recorded(data, num_examples=7), fewer)
    assert "6 examples instead of 7, since 1 cannot be read" in told


@pytest.mark.parametrize("key", ["num_examples", "shape", "class_names", "fingerprint"])
@pytest.mark.parametrize("value", [None, "nonsense", [[1], {}], 10**30, {}])
def test_what_is_not_known_is_not_compared(tmp_path, data, pixels, key, value):
    then = recorded(opened(tmp_path, "then", pixels[:4]), **{key: value})
    for card in (then, {name: each for name, each in then.items() if name != key}):
        told = describe_difference(card, data)
        assert told.isprintable()
        assert data.fingerprint[:12] in told
        assert ("instead of 4" in told) is (key != "num_examples")
